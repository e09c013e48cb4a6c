//! Which engine we run: version, package and digest per platform. Nothing here touches network or disk.

use anyhow::{Result, bail};

/// The version of the npm packages; ClickHouse 26.7.2 inside.
pub(crate) const VERSION: &str = "26.7.3-stable.1";

/// The library for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    /// npm package that holds `package/libchdb.so`.
    pub(crate) package: &'static str,
    /// Release asset of chdb-io/chdb-core that holds `libchdb.so`.
    pub(crate) asset: &'static str,
    /// SHA-256 of `libchdb.so`, lower-case hexadecimal.
    pub(crate) sha256: String,
}

/// `(operating system, architecture)` as `std::env::consts` names them, and what we know for it.
/// The digests are of the file in the npm package, taken when the version was chosen.
const PLATFORMS: [(&str, &str, &str, &str, Option<&str>); 4] = [
    (
        "linux",
        "x86_64",
        "@chdb/lib-linux-x64-gnu",
        "linux-x86_64-libchdb.tar.gz",
        Some("36ad4e999882821ef13cf2d0f52c93f48e6ee1b4498b35a201c23ce4b8d15bf5"),
    ),
    ("linux", "aarch64", "@chdb/lib-linux-arm64-gnu", "linux-aarch64-libchdb.tar.gz", None),
    ("macos", "aarch64", "@chdb/lib-darwin-arm64", "macos-arm64-libchdb.tar.gz", None),
    ("macos", "x86_64", "@chdb/lib-darwin-x64", "macos-x86_64-libchdb.tar.gz", None),
];

/// The pin for a platform. `digest` is what the user vouches for (`HOPLOG_ENGINE_SHA256`) and wins over ours.
pub(crate) fn pin(os: &str, arch: &str, digest: Option<&str>) -> Result<Pin> {
    let Some((_, _, package, asset, pinned)) = PLATFORMS.iter().find(|row| (row.0, row.1) == (os, arch))
    else {
        bail!("there is no libchdb for {os} on {arch}; point hoplog at a ClickHouse server instead");
    };
    let Some(sha256) = digest.or(*pinned) else {
        bail!(
            "no digest of libchdb {VERSION} is pinned for {os} on {arch}: fetch {package}@{VERSION}, satisfy yourself \
             that it is the right file, and set HOPLOG_ENGINE_SHA256 to the SHA-256 of its libchdb.so"
        );
    };
    let sha256 = sha256.to_ascii_lowercase();
    if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("HOPLOG_ENGINE_SHA256 is not a SHA-256: 64 hexadecimal digits are expected");
    }
    Ok(Pin { package, asset, sha256 })
}

#[cfg(test)]
mod tests {
    use super::{VERSION, pin};

    #[test]
    fn the_engine_looks_where_we_put_it() {
        let config = include_str!("../../../services/engine/src/config.rs");
        assert!(
            config.contains(&format!("\"{VERSION}\"")),
            "services/engine is written against another version"
        );
    }

    #[test]
    fn each_platform_has_a_digest_or_asks_for_one() {
        assert_eq!(pin("linux", "x86_64", None).unwrap().package, "@chdb/lib-linux-x64-gnu");
        for (os, arch) in [("linux", "aarch64"), ("macos", "aarch64"), ("macos", "x86_64")] {
            let error = pin(os, arch, None).unwrap_err().to_string();
            assert!(error.contains("HOPLOG_ENGINE_SHA256"), "{error}");
            assert_eq!(pin(os, arch, Some(&"AB".repeat(32))).unwrap().sha256, "ab".repeat(32));
            assert!(pin(os, arch, Some("abc")).is_err());
        }
        assert!(pin("windows", "x86_64", None).unwrap_err().to_string().contains("ClickHouse server"));
    }
}
