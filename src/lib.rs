//! root (draft without SQL)
#![expect(missing_docs, reason = "draft")]
pub mod local;
use std::path::PathBuf;
use std::sync::Arc;
use broker::{Broker, Config, Doors};
use client::transport::Transport;
use protocol::outcome::Refusal;
use local::LocalTransport;

#[derive(Debug)]
pub struct Thalweg { broker: Broker, transport: Arc<LocalTransport> }
impl Thalweg {
    pub async fn open(folder: impl Into<PathBuf>) -> Result<Self, Refusal> {
        Self::open_with(Config { data_dir: folder.into(), ..Config::default() }).await
    }
    pub async fn open_with(config: Config) -> Result<Self, Refusal> {
        let broker = Broker::open(config).await?;
        let transport = Arc::new(LocalTransport::new(broker.service().clone()));
        Ok(Self { broker, transport })
    }
    pub async fn listen(&self) -> Result<Doors, Refusal> {
        Ok(self.broker.listen(tonic::service::Routes::default()).await?)
    }
    pub fn transport(&self) -> Arc<dyn Transport> { self.transport.clone() }
    pub async fn close(self) { self.broker.close().await; }
}
