//! Listens for gRPC, binds the services, drains.

use std::time::Duration;

use futures_util::stream;
use protocol::grpc::{DESCRIPTORS, v1};
use protocol::limits::ADMIN_REQUEST_BYTES_MAX;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::config::Config;
use crate::connection::{Accepting, Connection, Manners};
use crate::grpc::admin::AdminService;
use crate::grpc::held::Watched;
use crate::grpc::inflow::Inflow;
use crate::grpc::log::LogDoor;
use crate::grpc::records::LogService;
use crate::grpc::single::Calls;
use crate::service::Service;

/// HTTP/2 windows: how far a sender may run ahead of us, per stream and per connection. The defaults of HTTP/2 (64 KiB)
/// would hold a fast producer to one window a round trip. What a peer has sent and we have not read lies in memory, outside
/// of all budgets: so much for each connection.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Larger frames, fewer of them: half the cost of a large batch is in its frames.
const FRAME_BYTES: u32 = 256 * 1024;

/// Largest message of server reflection: a name. Its server keeps room for the last one as long as a call is open.
const REFLECTION_BYTES_MAX: usize = 4 * 1024;

/// Calls under way on one connection.
const STREAMS_PER_CONNECTION_MAX: u32 = 256;

/// A peer that does not answer a ping in time is gone, and its place is free again.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_WAIT: Duration = Duration::from_secs(20);

/// Serves until the broker leaves, then lets calls under way finish.
///
/// `routes` are services of others (SQL) that share the port.
///
/// # Errors
/// When reflection cannot read our own descriptors, or the transport fails as a whole.
pub(crate) async fn serve(
    listener: TcpListener,
    service: Service,
    routes: Routes,
    config: &Config,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<v1::log_server::LogServer<LogService>>().await;
    health.set_serving::<v1::admin_server::AdminServer<AdminService>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };

    let log = LogDoor::new(LogService::new(service.clone()), config.request_bytes_max);
    let admin = v1::admin_server::AdminServer::new(AdminService::new(service.clone()))
        .max_decoding_message_size(ADMIN_REQUEST_BYTES_MAX);
    let routes = routes
        .add_service(log)
        .add_service(admin)
        .add_service(health_service)
        .add_service(reflection().build_v1()?.max_decoding_message_size(REFLECTION_BYTES_MAX))
        // Older tools, grpcurl among them, ask for this one.
        .add_service(reflection().build_v1alpha()?.max_decoding_message_size(REFLECTION_BYTES_MAX));

    let accepting =
        Accepting::new(listener, Manners::Http2, config.connections_max, service.metrics().clone());
    let connections = stream::unfold(accepting, |accepting| async {
        let (connection, _) = accepting.next().await;
        Some((Ok::<Connection, std::io::Error>(connection), accepting))
    });
    let leaving = service.drain().clone();
    let inflow = Inflow::new(config.write_bytes_in_flight_max);
    let calls = Calls::new(config.read_bytes_in_flight_max);
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_WAIT))
        .layer(tower_layer::layer_fn(Watched::new))
        .layer(tower_layer::layer_fn(move |inner| inflow.wrap(inner)))
        .layer(tower_layer::layer_fn(move |inner| calls.wrap(inner)))
        .add_routes(routes)
        .serve_with_incoming_shutdown(connections, async move { leaving.leaving().await })
        .await?;
    Ok(())
}
