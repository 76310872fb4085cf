//! **Thalweg: an event-streaming platform in one pure-Rust binary, or inside your own program.**
//!
//! A durable log of topics, a client, and SQL over streams, with no socket and no second process:
//!
//! ```
//! use thalweg::{Position, Record, Thalweg};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A throwaway one, as for a test. In a program: Thalweg::open("data").
//! let thalweg = Thalweg::ephemeral().await?;
//! thalweg
//!     .sql(
//!         "CREATE STREAM ratings (stars INT, message STRING)
//!            WITH (kafka_topic='ratings', value_format='JSON', partitions=1);
//!          CREATE STREAM poor AS SELECT message FROM ratings WHERE stars < 3;",
//!     )
//!     .await?;
//!
//! let producer = thalweg.producer();
//! let rating = Record::of_value(r#"{"stars": 1, "message": "late again"}"#);
//! let placed = producer.send(&"ratings".parse()?, None, rating).await?.await?;
//! assert_eq!(placed.offset.get(), 0);
//!
//! let mut consumer = thalweg.consumer();
//! consumer.assign(&"POOR".parse()?, None, Position::Earliest).await?;
//! let record = consumer.next().await?;
//! assert_eq!(record.value.as_deref(), Some(&br#"{"MESSAGE":"late again"}"#[..]));
//!
//! thalweg.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`Thalweg::listen`] opens the gRPC and HTTP doors as well: that is all that `thalweg serve` adds.

pub mod datagen;
pub mod local;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use broker::config::DurabilityMode;
pub use broker::{Broker, Config, Doors};
pub use client::admin::Admin;
pub use client::consumer::{ConsumedRecord, Consumer, ConsumerConfig};
pub use client::error::Error;
pub use client::producer::{Placed, Producer, ProducerConfig, Ticket, Tickets};
pub use client::transport::Transport;
pub use processor::answer::Answer;
pub use processor::engine::AnswerStream;
use processor::serve::grpc::QueryService;
use processor::{Engine, EngineConfig};
pub use protocol::id::{Offset, Partition, Timestamp, TopicName};
pub use protocol::outcome::{Outcome, Refusal};
pub use protocol::record::Record;
pub use protocol::verbs::{BrokerDescription, Position, TopicSpec};
use tempfile::TempDir;
use tonic::service::Routes;

use crate::local::LocalTransport;

/// A log, its topics and its queries, in this process.
///
/// [`Self::close`] leaves in order. Dropping it without that loses nothing that was acknowledged, exactly as a process
/// that is killed; background work may then go on until the runtime ends.
#[derive(Debug)]
pub struct Thalweg {
    broker: Broker,
    engine: Engine,
    transport: Arc<LocalTransport>,
    /// The folder of an ephemeral one: it goes last.
    folder: Option<TempDir>,
}

impl Thalweg {
    /// Opens the data folder at `folder`, which is made when it is missing, with the default settings: what is
    /// acknowledged is synced to disk.
    ///
    /// Call it within a tokio runtime. One process at a time may use a folder.
    ///
    /// # Errors
    /// When the folder is in use, of a newer version, or damaged where nothing can stand in for it.
    pub async fn open(folder: impl Into<PathBuf>) -> Result<Self, Refusal> {
        Self::open_with(Config { data_dir: folder.into(), ..Config::default() }).await
    }

    /// The same with settings of your choice.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(config: Config) -> Result<Self, Refusal> {
        let broker = Broker::open(config).await?;
        let transport = Arc::new(LocalTransport::new(broker.service().clone()));
        let own = Arc::new(LocalTransport::new(broker.service_of_engine()));
        match Engine::open(transport.clone(), own, EngineConfig::default()).await {
            Ok(engine) => {
                if let Some(refusal) = engine.not_started() {
                    broker.set_caveat(format!("SQL is not started: {}", refusal.message));
                }
                Ok(Self { broker, engine, transport, folder: None })
            }
            Err(error) => {
                broker.close().await;
                Err(error.into())
            }
        }
    }

    /// A throwaway one in a temporary folder, which goes when it is closed or dropped. Ready in milliseconds: for tests.
    ///
    /// # Errors
    /// When there is no room for temporary files.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let thalweg = thalweg::Thalweg::ephemeral().await?;
    /// let topic = thalweg.create_topic("orders", 4).await?;
    /// assert_eq!(topic.as_str(), "orders");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ephemeral() -> Result<Self, Refusal> {
        let folder = tempfile::tempdir().map_err(|cause| {
            Refusal::new(Outcome::Unavailable, format!("cannot make a temporary folder: {cause}"))
        })?;
        let config = Config {
            data_dir: folder.path().join("data"),
            // Nothing outlives it, so nothing needs to survive a power cut.
            durability: DurabilityMode::Os,
            shards: 1,
            ..Config::default()
        };
        let thalweg = Self::open_with(config).await?;
        Ok(Self { folder: Some(folder), ..thalweg })
    }

    /// A producer with the default settings: idempotent, batching what comes together.
    pub fn producer(&self) -> Producer {
        self.producer_with(ProducerConfig::default())
    }

    /// A producer with settings of your choice.
    pub fn producer_with(&self, config: ProducerConfig) -> Producer {
        Producer::new(self.transport(), config)
    }

    /// A consumer with the default settings. Give it something to read with [`Consumer::assign`].
    pub fn consumer(&self) -> Consumer {
        self.consumer_with(ConsumerConfig::default())
    }

    /// A consumer with settings of your choice.
    pub fn consumer_with(&self, config: ConsumerConfig) -> Consumer {
        Consumer::new(self.transport(), config)
    }

    /// Topics and settings.
    pub fn admin(&self) -> Admin {
        Admin::new(self.transport())
    }

    /// Creates a topic with the default settings and gives its name, checked.
    ///
    /// # Errors
    /// When the name is not valid or taken, or the disk fails. There is then no such topic.
    pub async fn create_topic(&self, name: &str, partitions: u32) -> Result<TopicName, Refusal> {
        let name = TopicName::new(name)
            .map_err(|error| Refusal::new(Outcome::InvalidTopicName, error.to_string()))?;
        let spec = TopicSpec {
            name: name.clone(),
            partitions: Some(partitions),
            settings: BTreeMap::new(),
        };
        self.broker.service().create_topic(spec).await?;
        Ok(name)
    }

    /// Carries out statements and gives all that they answer. For statements that end by themselves; follow a push query
    /// with [`Self::query`].
    ///
    /// # Errors
    /// Those of the first statement that fails; the statements before it have been carried out.
    pub async fn sql(&self, text: &str) -> Result<Vec<Answer>, Refusal> {
        let mut answers = self.query(text);
        let mut gathered = Vec::new();
        while let Some(answer) = answers.recv().await {
            gathered.push(answer?);
        }
        Ok(gathered)
    }

    /// Carries out statements and gives their answers as they come. Dropping the stream ends a push query.
    pub fn query(&self, text: &str) -> AnswerStream {
        self.engine.execute(text, BTreeMap::new())
    }

    /// Opens the gRPC and HTTP doors of the settings, and says where they are.
    ///
    /// # Errors
    /// When an address is taken. No door is then open.
    pub async fn listen(&self) -> Result<Doors, Refusal> {
        let routes = Routes::new(QueryService::new(self.engine.clone()));
        Ok(self.broker.listen(routes).await?)
    }

    /// What this is: version, durability, numbers of topics and partitions.
    pub fn describe(&self) -> BrokerDescription {
        self.broker.service().describe_broker()
    }

    /// The way into this process's broker, for code that is written against [`Transport`].
    pub fn transport(&self) -> Arc<dyn Transport> {
        self.transport.clone()
    }

    /// Done when a part of the broker has ended by a fault of the program. Nothing that was acknowledged is lost: close
    /// this and open it anew. May be cancelled.
    pub async fn fallen(&self) -> Refusal {
        self.broker.fallen().await
    }

    /// Leaves in order: queries write down where they are, calls under way finish, every log is synced and closed.
    pub async fn close(self) {
        self.engine.close().await;
        self.broker.close().await;
        drop(self.folder);
    }
}
