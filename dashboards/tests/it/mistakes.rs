//! Mistakes in the sources: all of them at once, each with its place.

use std::fs;
use std::path::Path;

use dashboards::{Error, generate};

use crate::repository;

/// The sources, to be broken.
fn copy() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for path in ["", "queries"] {
        copy_files(&repository("dashboards").join(path), &place.path().join(path));
    }
    for folder in fs::read_dir(repository("dashboards/queries")).unwrap() {
        let folder = folder.unwrap();
        copy_files(&folder.path(), &place.path().join("queries").join(folder.file_name()));
    }
    place
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

fn replace(place: &Path, file: &str, from: &str, to: &str) {
    let text = fs::read_to_string(place.join(file)).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    fs::write(place.join(file), text.replacen(from, to, 1)).unwrap();
}

#[test]
fn all_are_named_at_once() {
    let place = copy();
    replace(place.path(), "slo.toml", "to = \"redirects\"", "to = \"nowhere\"");
    replace(
        place.path(),
        "slo.toml",
        "variables = [\"prometheus\"",
        "variables = [\"made_up\", \"prometheus\"",
    );
    replace(place.path(), "errors.toml", "query = \"kept.sql\"", "query = \"made_up.sql\"");
    replace(place.path(), "errors.toml", "set = { error_type =", "set = { made_up =");
    replace(
        place.path(),
        "links.toml",
        "query = \"clicks.sql\" }",
        "query = \"clicks.sql\" }, { query = \"x.promql\" }",
    );
    fs::write(place.path().join("queries/links/x.promql"), "up\n").unwrap();
    replace(place.path(), "redirects.toml", "width = 12", "width = 30");
    let Err(Error::Mistakes(mistakes)) = generate(place.path()) else { panic!("there are mistakes") };
    let said: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    for wanted in [
        "slo: there is no variable \"made_up\"",
        "slo, \"Budget left\": leads to \"nowhere\", which is none",
        "errors: no panel uses kept.sql",
        "errors, \"To be looked at\": there is no query errors/made_up.sql",
        "errors, \"Errors\": sets \"made_up\", which \"errors\" does not have",
        "links, \"Clicks\": mixes data sources",
        "redirects, \"Requests by route\": is 30 by 8",
    ] {
        assert!(said.iter().any(|mistake| mistake == wanted), "{wanted}: {said:#?}");
    }
}

#[test]
fn a_source_that_is_none_is_named() {
    let place = copy();
    replace(place.path(), "slo.toml", "uid = ", "uuid = ");
    let error = generate(place.path()).unwrap_err();
    assert!(matches!(&error, Error::Form { path, .. } if path.ends_with("slo.toml")), "{error}");
    fs::remove_file(place.path().join("links.toml")).unwrap();
    replace(place.path(), "slo.toml", "uuid = ", "uid = ");
    let error = generate(place.path()).unwrap_err();
    assert!(matches!(&error, Error::Read { path, .. } if path.ends_with("links.toml")), "{error}");
}
