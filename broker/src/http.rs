//! The HTTP port: `/healthz`, `/readyz`, `/metrics`. Translation only.
//!
//! `/healthz` says that the process answers. `/readyz` says whether it takes work: 503 while the broker is leaving; where
//! topics are served and something else is not, it says so behind "ready".

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::connection::{Accepting, Manners};
use crate::service::Service;

/// Probes and scrapers need few connections; nobody else should be here.
const CONNECTIONS_MAX: usize = 128;

/// What Prometheus expects of the text format that we render.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until the broker leaves.
///
/// # Errors
/// When the transport fails as a whole.
pub(crate) async fn serve(listener: TcpListener, service: Service) -> std::io::Result<()> {
    let accepting =
        Accepting::new(listener, Manners::Http1, CONNECTIONS_MAX, service.metrics().clone());
    let leaving = service.drain().clone();
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(service);
    axum::serve(accepting, router)
        .with_graceful_shutdown(async move { leaving.leaving().await })
        .await
}

async fn ready(State(service): State<Service>) -> impl IntoResponse {
    if service.drain().is_leaving() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    let caveat = service.caveat().map(|caveat| format!(", but: {caveat}")).unwrap_or_default();
    (StatusCode::OK, format!("ready{caveat}\n"))
}

async fn metrics(State(service): State<Service>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], service.render_metrics())
}
