//! A transport straight into a broker of the same process: no socket, no encoding, the same promises.
//!
//! This is the only place where the two halves of the house meet.

use broker::Service;
use broker::fetch::Answered;
use client::error::{Error, Result};
use client::transport::{PendingReply, Transport};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use protocol::id::TopicName;
use protocol::verbs::{
    BrokerDescription, FetchReply, FetchRequest, PositionEntry, PositionFound, ProduceRequest,
    ProducerIdentity, TopicChange, TopicDescription, TopicSpec,
};

/// The broker of this process as a client sees it.
#[derive(Clone, Debug)]
pub struct LocalTransport {
    service: Service,
}

impl LocalTransport {
    /// A way into `service`.
    pub fn new(service: Service) -> Self {
        Self { service }
    }
}

impl Transport for LocalTransport {
    fn produce(&self, request: ProduceRequest) -> BoxFuture<'_, Result<PendingReply>> {
        async {
            let submitted = self.service.produce(request).await;
            Ok(submitted.reply().map(Ok).boxed())
        }
        .boxed()
    }

    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<FetchReply>> {
        async {
            // In one process the bytes are shared with the log's own memory; there is no way for them to be on.
            let Answered { reply, permit: _ } = self.service.fetch(request).await?;
            Ok(reply)
        }
        .boxed()
    }

    fn find_positions(
        &self,
        entries: Vec<PositionEntry>,
    ) -> BoxFuture<'_, Result<Vec<std::result::Result<PositionFound, Error>>>> {
        async {
            let found = self.service.find_positions(entries).await?;
            Ok(found.into_iter().map(|found| found.map_err(Error::from)).collect())
        }
        .boxed()
    }

    fn init_producer(&self) -> BoxFuture<'_, Result<ProducerIdentity>> {
        async { Ok(self.service.init_producer().await?) }.boxed()
    }

    fn create_topic(&self, spec: TopicSpec) -> BoxFuture<'_, Result<TopicDescription>> {
        async { Ok(self.service.create_topic(spec).await?) }.boxed()
    }

    fn describe_topic(&self, name: TopicName) -> BoxFuture<'_, Result<TopicDescription>> {
        async move { Ok(self.service.describe_topic(&name)?) }.boxed()
    }

    fn list_topics(&self) -> BoxFuture<'_, Result<Vec<TopicDescription>>> {
        async { Ok(self.service.list_topics()) }.boxed()
    }

    fn alter_topic(
        &self,
        name: TopicName,
        change: TopicChange,
    ) -> BoxFuture<'_, Result<TopicDescription>> {
        async move { Ok(self.service.alter_topic(&name, change).await?) }.boxed()
    }

    fn delete_topic(&self, name: TopicName) -> BoxFuture<'_, Result<()>> {
        async move { Ok(self.service.delete_topic(&name).await?) }.boxed()
    }

    fn describe_broker(&self) -> BoxFuture<'_, Result<BrokerDescription>> {
        async { Ok(self.service.describe_broker()) }.boxed()
    }
}
