//! blackbox_exporter with the configuration of the deployment, before a running shortener: what is right is seen to be so,
//! and a redirect is not followed.

use std::process::{Child, Command, Stdio};

use crate::harness::{Installation, get, repository};

/// The exporter, which ends with the test.
struct Blackbox {
    child: Child,
    address: String,
}

impl Drop for Blackbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Blackbox {
    /// `None`, and said so, where there is no such program.
    fn start(hoplog: &Installation) -> Option<Self> {
        let address = format!("127.0.0.1:{}", testbed::free_port());
        let mut command = Command::new("prometheus-blackbox-exporter");
        command.arg("--config.file").arg(repository("deploy/blackbox/blackbox.yml"));
        command.arg(format!("--web.listen-address={address}")).stdout(Stdio::null()).stderr(Stdio::null());
        let child = match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                println!(
                    "NOT COVERED: the public port from outside: there is no prometheus-blackbox-exporter"
                );
                return None;
            }
            child => child.unwrap(),
        };
        let blackbox = Self { child, address };
        hoplog.wait_for("blackbox_exporter", || get(&format!("http://{}/-/healthy", blackbox.address)).ok());
        Some(blackbox)
    }

    /// Whether a target is as a module wants it, and the status that it answered with.
    fn probe(&self, module: &str, target: &str) -> (bool, u16) {
        let url = format!("http://{}/probe?module={module}&target={target}", self.address);
        let metrics = get(&url).unwrap();
        let value = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            line.unwrap_or_else(|| panic!("no {name} in {metrics}"))
        };
        (value("probe_success ") == 1.0, value("probe_http_status_code ") as u16)
    }
}

#[test]
fn a_port_that_is_well_is_seen_to_be_and_redirects_are_not_followed() {
    let mut hoplog = Installation::new().up();
    let Some(blackbox) = Blackbox::start(&hoplog) else { return hoplog.down() };
    // Who follows it fails.
    hoplog.link("leads-nowhere", "http://nowhere.invalid/");
    let link = format!("{}/leads-nowhere", hoplog.shortener());
    let scraped = std::fs::read_to_string(repository("deploy/prometheus/prometheus.yml")).unwrap();
    let shortener = hoplog.shortener();
    let path = |module: &str| {
        let (before, _) = scraped.split_once(&format!("__param_module: {module}")).unwrap();
        let target = before.rsplit("http://nginx:8080").next().unwrap().split('"').next().unwrap();
        format!("{shortener}{target}")
    };
    assert_eq!(blackbox.probe("hoplog_health", &path("hoplog_health")), (true, 200));
    assert_eq!(blackbox.probe("hoplog_redirect", &link), (true, 302));
    // Each module tells what is right from what is not.
    assert_eq!(blackbox.probe("hoplog_health", &link), (false, 302));
    assert_eq!(blackbox.probe("hoplog_redirect", &format!("{link}-not")), (false, 404));
    // They are no people's visits.
    hoplog.verified();
    assert_eq!(hoplog.number("SELECT count() FROM orphan_visits WHERE NOT bot"), 0);
    assert_eq!(hoplog.number("SELECT sum(clicks) FROM clicks_by_hour WHERE NOT bot"), 0);
    assert!(hoplog.number("SELECT count() FROM orphan_visits") > 0);
    hoplog.down();
    assert_eq!(blackbox.probe("hoplog_health", &path("hoplog_health")), (false, 0));
}
