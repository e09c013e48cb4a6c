//! A real access log as traffic; what is stored equals what awk counts in the log, to the request.

use std::process::Command;

use crate::harness::{Installation, repository};

#[test]
fn a_replayed_log_is_stored_as_awk_counts_it() {
    // The replay says whose request each is; it comes from this machine, which has to be trusted with that.
    let mut hoplog =
        Installation::new().set("HOPLOG_SERVE__SHORTENER__HTTP__TRUSTED_PROXIES", "[\"127.0.0.1/32\"]").up();
    let mapping = hoplog.data().join("mapping.tsv");
    let replayed = hoplog
        .command("load")
        .args(["--url", &hoplog.shortener(), "--key-file"])
        .arg(hoplog.data().join("admin.key"))
        .arg("--replay")
        .arg(repository("bench/data/access.log.gz"))
        .arg("--mapping")
        .arg(&mapping)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&replayed.stdout);
    assert!(replayed.status.success(), "{said}{}", String::from_utf8_lossy(&replayed.stderr));
    hoplog.verified();

    let compared = Command::new("bash")
        .arg(repository("bench/replay-check.sh"))
        .arg("compare")
        .arg(repository("bench/data/access.log.gz"))
        .arg(&mapping)
        .arg(format!("http://127.0.0.1:{}", hoplog.base + 3))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&compared.stdout);
    println!("{said}");
    assert!(compared.status.success(), "{said}{}", String::from_utf8_lossy(&compared.stderr));

    // The clients are those of the log, not the replayer. A few of them were on the logged machine itself.
    let nets = |condition: &str| {
        hoplog.number(&format!("SELECT uniqExact(client_net) FROM requests WHERE {condition}"))
    };
    assert!(nets("client_net != '127.0.0.0/24'") > 50);
    hoplog.down();
}
