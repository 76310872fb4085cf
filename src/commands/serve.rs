//! A broker and its SQL engine in one process, until a signal.

use broker::{Broker, Config};
use thalweg::Thalweg;

use crate::args::ServeArgs;
use crate::context::Context;
use crate::exit::Failure;

/// Runs a broker in the foreground.
pub(crate) async fn run(args: ServeArgs, context: &Context) -> Result<(), Failure> {
    let config = configure(&args, context)?;
    if args.check {
        return context.output.line("the configuration is valid");
    }
    log_to_stderr(context);
    let durability = config.durability.clone();
    let thalweg = Thalweg::open_with(config).await.map_err(Failure::Refused)?;
    let doors = match thalweg.listen().await {
        Ok(doors) => doors,
        Err(refusal) => {
            thalweg.close().await;
            return Err(Failure::Refused(refusal));
        }
    };
    tracing::info!(?durability, "serving");
    context.output.line(&format!("ready grpc={} http={}", doors.grpc, doors.http))?;
    stop_asked().await;
    tracing::info!("stopping");
    thalweg.close().await;
    Ok(())
}
