//! How full the disk under `--data` is, read at each scrape: a spool or an embedded ClickHouse that can't write stops
//! the pipeline, and that is seen hours before. What on it takes the space is not known here.

use std::fmt;
use std::path::{Path, PathBuf};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// To be registered as a collector.
#[derive(Debug)]
pub(crate) struct DiskSpace(PathBuf);

impl DiskSpace {
    /// Of the file system that holds this path, or will hold it once it is made.
    pub(crate) fn of(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Bytes that programs may still write, and all there are. `None` where the system does not say.
    fn read(&self) -> Option<(u64, u64)> {
        // The last ancestor of a relative path is empty, and means the working directory.
        let mut places = self.0.ancestors().chain([Path::new(".")]);
        let made = places.find(|path| path.exists())?;
        let system = rustix::fs::statvfs(made).ok()?;
        Some((
            system.f_bavail.saturating_mul(system.f_frsize),
            system.f_blocks.saturating_mul(system.f_frsize),
        ))
    }
}

impl Collector for DiskSpace {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some((available, size)) = self.read() else { return Ok(()) };
        for (name, help, bytes) in [
            (
                "data_disk_available",
                "What may still be written to the disk under the data directory",
                available,
            ),
            ("data_disk_size", "Size of the disk under the data directory", size),
        ] {
            let gauge = ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_known_before_anything_is_on_it() {
        let place = tempfile::tempdir().unwrap();
        let wanted = DiskSpace::of(&place.path().join("not/made/yet"));
        let (available, size) = wanted.read().unwrap();
        assert!(available > 0 && available <= size);
        assert!(DiskSpace::of(Path::new("not/made/yet")).read().is_some());
    }
}
