//! How busy the link store's connections are, and how far its replicas are behind, read at each scrape. Waits for nothing and asks no server.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::store::LinkStore;

/// To be registered once, as a collector.
pub struct StorePools(Arc<dyn LinkStore>);

impl StorePools {
    /// Those of a store.
    #[must_use]
    pub fn new(store: Arc<dyn LinkStore>) -> Self {
        Self(store)
    }
}

impl fmt::Debug for StorePools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StorePools").field(&self.0.pools()).finish()
    }
}

impl Collector for StorePools {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let pools = self.0.pools();
        let help = "Connections to the link store, by pool and whether they work for somebody";
        let mut open = encoder.encode_descriptor("store_pool_connections", help, None, MetricType::Gauge)?;
        for pool in &pools {
            for (state, connections) in [("busy", pool.busy), ("idle", pool.idle)] {
                let labels = [("pool", pool.name), ("state", state)];
                ConstGauge::new(connections).encode(open.encode_family(&labels)?)?;
            }
        }
        let help = "Connections that a pool may have";
        let mut most =
            encoder.encode_descriptor("store_pool_connections_max", help, None, MetricType::Gauge)?;
        for pool in &pools {
            ConstGauge::new(pool.connections_max).encode(most.encode_family(&[("pool", pool.name)])?)?;
        }
        if let Some(lag_s) = self.0.replica_lag_s() {
            let help = "How far the read replica that is furthest behind is behind, as last seen";
            let lag =
                encoder.encode_descriptor("store_replica_lag_seconds", help, None, MetricType::Gauge)?;
            ConstGauge::new(lag_s).encode(lag)?;
        }
        Ok(())
    }
}
