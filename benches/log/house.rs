//! The two brokers that are measured, one behind each door, and the topics on them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use broker::Broker;
use broker::config::{Config, DurabilityMode};
use client::admin::Admin;
use client::grpc::GrpcTransport;
use client::transport::Transport;
use protocol::id::TopicName;
use protocol::verbs::TopicSpec;
use thalweg::local::LocalTransport;

use crate::Result;
use crate::disk;
use crate::server::{self, Server};

/// How a client reaches its broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// The broker is in the client's process.
    InProcess,
    /// The broker is in another process, reached over the loopback.
    Grpc,
}

impl Door {
    pub(crate) const ALL: [Self; 2] = [Self::InProcess, Self::Grpc];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::InProcess => "in process",
            Self::Grpc => "gRPC",
        }
    }
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Synced before it.
    Sync,
    /// Written before it, synced every 100 ms.
    Interval,
    /// Written before it.
    Os,
}

impl Durability {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Interval => "interval",
            Self::Os => "os",
        }
    }

    /// As a setting of a topic; none where it is what [`config`] says.
    pub(crate) fn setting(self) -> Option<Setting> {
        match self {
            Self::Sync => Some(("flush.messages", "1")),
            Self::Interval => Some(("flush.ms", "100")),
            Self::Os => None,
        }
    }
}

/// Name and value of a topic's setting.
pub(crate) type Setting = (&'static str, &'static str);

/// The settings of a measured broker: the defaults, but for the addresses, and for the durability, which every topic
/// sets for itself.
pub(crate) fn config(folder: PathBuf) -> Config {
    let anywhere = ([127, 0, 0, 1], 0).into();
    Config {
        data_dir: folder,
        grpc_listen: anywhere,
        http_listen: anywhere,
        durability: DurabilityMode::Os,
        ..Config::default()
    }
}

/// What a broker has used up and done so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    pub(crate) cpu: Duration,
    pub(crate) syncs: f64,
}

impl Meter {
    /// What came on top of an earlier reading.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(earlier.cpu), syncs: self.syncs - earlier.syncs }
    }

    pub(crate) fn cpu_us_per(self, records: f64) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / records
    }
}

/// Both brokers.
#[derive(Debug)]
pub(crate) struct House {
    folder: PathBuf,
    broker: Broker,
    server: Server,
}

impl House {
    /// Starts both, each with a folder of its own in `folder`.
    pub(crate) async fn open(folder: &Path) -> Result<Self> {
        let broker = Broker::open(config(folder.join("in-process"))).await?;
        let server = Server::start(&folder.join("grpc"))?;
        Ok(Self { folder: folder.to_owned(), broker, server })
    }

    pub(crate) async fn close(self) -> Result<()> {
        self.broker.close().await;
        self.server.stop()
    }

    /// Waits until nothing of an earlier measurement is left to write.
    pub(crate) fn settle(&self) -> Result<()> {
        disk::settle(&self.folder)
    }

    /// A new way to the broker behind `door`: over gRPC, with connections of its own.
    pub(crate) fn transport(&self, door: Door) -> Result<Arc<dyn Transport>> {
        Ok(match door {
            Door::InProcess => Arc::new(LocalTransport::new(self.broker.service().clone())),
            Door::Grpc => GrpcTransport::connect(&self.server.grpc)?,
        })
    }

    /// Reads the meters of the broker behind `door`. In one process, the time of the clients is in it too.
    pub(crate) fn meter(&self, door: Door) -> Result<Meter> {
        let (cpu, metrics) = match door {
            Door::InProcess => (server::cpu("self")?, self.broker.service().render_metrics()),
            Door::Grpc => (self.server.cpu()?, self.server.metrics()?),
        };
        Ok(Meter { cpu, syncs: server::counter(&metrics, "thalweg_syncs_total")? })
    }
}

/// A topic that a measurement made.
#[derive(Debug)]
pub(crate) struct Topic {
    admin: Admin,
    pub(crate) name: TopicName,
}

impl Topic {
    /// Makes a topic over `transport`.
    pub(crate) async fn create(
        transport: Arc<dyn Transport>,
        name: &str,
        partitions: u32,
        durability: Durability,
    ) -> Result<Self> {
        Self::create_with(transport, name, partitions, durability.setting()).await
    }

    /// The same with these settings.
    pub(crate) async fn create_with(
        transport: Arc<dyn Transport>,
        name: &str,
        partitions: u32,
        settings: impl IntoIterator<Item = Setting>,
    ) -> Result<Self> {
        let admin = Admin::new(transport);
        let name: TopicName = name.parse()?;
        let settings: BTreeMap<_, _> =
            settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let spec = TopicSpec { name: name.clone(), partitions: Some(partitions), settings };
        admin.create_topic(spec).await?;
        Ok(Self { admin, name })
    }

    /// Records in it.
    pub(crate) async fn records(&self) -> Result<u64> {
        let topic = self.admin.describe_topic(&self.name).await?;
        Ok(topic.partitions.iter().map(|it| it.end.since(it.start)).sum())
    }

    /// Deletes it, after making sure that it holds what was acknowledged: a rate of lost records is none.
    pub(crate) async fn finish(self, acknowledged: u64) -> Result<()> {
        let stored = self.records().await?;
        if stored != acknowledged {
            let name = &self.name;
            return Err(format!("{name}: {acknowledged} acknowledged, {stored} stored").into());
        }
        Ok(self.admin.delete_topic(&self.name).await?)
    }
}
