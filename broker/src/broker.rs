//! Builds the house from the cellar up, and takes it down from the roof.
//!
//! Opening: lock the data folder, start the shards, read the catalogue of topics, open every log; only then the doors.
//! Leaving: close the doors to new work, let what is under way finish within a time limit, sync and close every log,
//! release the lock. A broker that is dropped without [`Broker::close`] loses nothing that was acknowledged, exactly as
//! one that is killed.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::select_all;
use protocol::outcome::{Outcome, Refusal};
use storage::{ClusterId, DataFolder, Opening, ReadFiles, RealDisk, StorageError};
use tokio::net::TcpListener;
use tonic::service::Routes;

use crate::admission::Admission;
use crate::config::Config;
use crate::grpc::server;
use crate::http;
use crate::metrics::Metrics;
use crate::service::{Hall, Service};
use crate::shard::core::{self, Core, OpenFiles};
use crate::shard::handle::ShardHandle;
use crate::shard::thread;
use crate::shutdown::Shutdown;
use crate::topics::catalog::{self, Catalog};
use crate::topics::journal::{Journal, JournalError};
use crate::world::World;

/// Why a broker cannot start. Nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder cannot be used.
    #[error("the data folder {folder}: {cause}")]
    Folder {
        /// Which folder.
        folder: String,
        /// Locked by another process, written by a newer version, or the disk failed.
        cause: StorageError,
    },
    /// The catalogue of topics cannot be read.
    #[error(transparent)]
    Catalog(#[from] JournalError),
    /// The operating system gave no thread.
    #[error("cannot start a thread: {0}; raise the limit of threads of this user (ulimit -u)")]
    Thread(std::io::Error),
    /// The address is taken or not ours.
    #[error(
        "cannot listen on {address} for {door}: {cause}; choose another address (--{door}-listen) or stop who uses it"
    )]
    Listen {
        /// `grpc` or `http`.
        door: &'static str,
        /// Which address.
        address: SocketAddr,
        /// Why not.
        cause: std::io::Error,
    },
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    service: Service,
    shutdown: Shutdown,
    shards: Vec<(ShardHandle, thread::Worker)>,
    config: Arc<Config>,
    /// Last to go: its lock keeps others out until everything is closed.
    folder: DataFolder,
}

/// Where the doors of a broker are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doors {
    /// gRPC.
    pub grpc: SocketAddr,
    /// Health and metrics.
    pub http: SocketAddr,
}

impl Broker {
    /// Opens the data folder of `config` on the disk of this machine. No door is open yet.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the folder is in use, newer or damaged where nothing can stand in for it.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        Self::open_in(World::real(), config).await
    }

    /// The same in a world of the caller's choice.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_in(world: World, config: Config) -> Result<Self, OpenError> {
        let config = Arc::new(config);
        let root = config.data_dir.clone();
        let folder = open_folder(&world, &root)?;
        let shards_count = shard_count(config.shards);
        let files = open_files(config.open_files_max, shards_count);
        let opening = Opening {
            leader_epoch: folder.leader_epoch(),
            now: world.clock.wall(),
            read_files: files.read.clone(),
        };
        let metrics = Metrics::new();
        let (journal, contents) =
            Journal::open(Arc::clone(&world.disk), &root.join("catalog"), opening)?;
        let mut shards = Vec::new();
        for number in 0..shards_count {
            let core = Core::new(core::Ground {
                disk: Arc::clone(&world.disk),
                clock: world.clock.clone(),
                metrics: metrics.clone(),
                leader_epoch: folder.leader_epoch(),
                retention_check_ms: config.retention_check_ms,
                files: files.clone(),
            });
            let shard = thread::start(number, core, world.clock.clone(), world.threads);
            shards.push(shard.map_err(OpenError::Thread)?);
        }
        let ground = catalog::Ground {
            world: world.clone(),
            root,
            shards: shards.iter().map(|(handle, _)| handle.clone()).collect(),
            config: Arc::clone(&config),
            metrics: metrics.clone(),
        };
        let catalog = Catalog::open(ground, journal, contents).await;
        let shutdown = Shutdown::new();
        let service = Service::new(Hall {
            catalog,
            admission: Admission::new(
                config.write_bytes_in_flight_max,
                config.read_bytes_in_flight_max,
            ),
            metrics,
            world,
            drain: shutdown.drain(),
            config: Arc::clone(&config),
            cluster_id: folder.cluster_id().to_string(),
            caveat: OnceLock::new(),
        });
        Ok(Self { service, shutdown, shards, config, folder })
    }

    /// The way in for callers of the same process.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The way in for the SQL engine of this process, with which alone it changes the topics that are its own.
    pub fn service_of_engine(&self) -> Service {
        self.service.for_engine()
    }

    /// Says what does not work in this process though the broker does: `/readyz` tells it.
    pub fn set_caveat(&self, caveat: String) {
        self.service.set_caveat(caveat);
    }

    /// Opens the doors, with the services of others (SQL) on the gRPC port, and says where they are.
    ///
    /// # Errors
    /// When an address is taken. No door is then open.
    pub async fn listen(&self, routes: Routes) -> Result<Doors, OpenError> {
        let (grpc_listener, grpc) = bind("grpc", self.config.grpc_listen).await?;
        let (http_listener, http) = bind("http", self.config.http_listen).await?;
        let drain = self.shutdown.drain();
        let (service, config) = (self.service.clone(), Arc::clone(&self.config));
        drain.spawn(async move {
            if let Err(error) = server::serve(grpc_listener, service, routes, &config).await {
                tracing::error!("the gRPC door is closed: {error}");
            }
        });
        let service = self.service.clone();
        drain.spawn(async move {
            if let Err(error) = http::serve(http_listener, service).await {
                tracing::error!("the HTTP door is closed: {error}");
            }
        });
        Ok(Doors { grpc, http })
    }

    /// Done when a shard has ended without being told to, by a fault of the program: its partitions take and give
    /// nothing any more. Nothing that was acknowledged is lost; close the broker and open it anew. May be cancelled.
    pub async fn fallen(&self) -> Refusal {
        let shards = self.shards.iter().map(|(shard, _)| Box::pin(shard.ended()));
        let (_, number, _) = select_all(shards).await;
        Refusal::new(
            Outcome::Internal,
            format!("shard {number} of {} has ended by a fault of the program", self.shards.len()),
        )
    }

    /// Leaves in order. Work under way has `shutdown_ms_max` to finish; syncing is never cut short.
    pub async fn close(self) {
        let limit = Duration::from_millis(self.config.shutdown_ms_max);
        if tokio::time::timeout(limit, self.shutdown.leave()).await.is_err() {
            tracing::warn!(
                "calls were still under way after {} ms and were ended",
                limit.as_millis()
            );
        }
        for (shard, _) in &self.shards {
            shard.stop().await;
        }
        for (_, worker) in self.shards {
            worker.ended().await;
        }
        self.service.close_catalog().await;
        drop(self.folder);
    }
}

fn open_folder(world: &World, root: &Path) -> Result<DataFolder, OpenError> {
    let fresh = ClusterId(*world.ids.fresh().as_bytes());
    DataFolder::open(Arc::clone(&world.disk), root, fresh)
        .map_err(|cause| OpenError::Folder { folder: root.display().to_string(), cause })
}

fn shard_count(setting: usize) -> usize {
    match setting {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}

/// Files that a log holds open while it is written to: its newest segment, and the mark of what is synced.
const FILES_PER_LOG: usize = 2;

/// Shares the files that may be open: half for the logs that are written to, half for readers.
fn open_files(setting: usize, shards: usize) -> OpenFiles {
    let files_max = match setting {
        // The other half of what the process may open is for connections, and for whatever else is in it.
        0 => RealDisk::open_files_limit()
            .map_or(usize::MAX, |limit| usize::try_from(limit / 2).unwrap_or(usize::MAX)),
        files => files,
    };
    OpenFiles {
        logs_awake_max: files_max / 2 / FILES_PER_LOG / shards.max(1),
        read: ReadFiles::new(files_max / 2),
    }
}

async fn bind(
    door: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), OpenError> {
    let listen = |cause| OpenError::Listen { door, address, cause };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    Ok((listener, address))
}

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Self {
        let outcome = match &error {
            OpenError::Folder { cause, .. } if cause.is_full() => Outcome::DiskFull,
            OpenError::Folder { cause: StorageError::Locked { .. }, .. } => Outcome::InUse,
            OpenError::Folder { cause: StorageError::Newer { .. }, .. } => Outcome::Unsupported,
            OpenError::Folder { .. } | OpenError::Catalog(_) => Outcome::StorageFailed,
            OpenError::Thread(_) | OpenError::Listen { .. } => Outcome::Unavailable,
        };
        Self::new(outcome, error.to_string())
    }
}
