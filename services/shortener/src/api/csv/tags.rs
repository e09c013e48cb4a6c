//! The tags of a link in a cell, and out of one. Shlink's files have `|` between tags, which tags may hold as well: there it
//! has a backslash in front, and so has each backslash.

use super::Format;

/// Between tags in Shlink's files.
const SEPARATOR: char = '|';

/// In front of what is part of a tag there.
const ESCAPE: char = '\\';

/// Tags as a cell.
pub(super) fn joined<'a>(format: Format, tags: impl Iterator<Item = &'a str>) -> String {
    if format != Format::Shlink {
        // No tag of ours has a comma.
        return tags.collect::<Vec<_>>().join(",");
    }
    let mut cell = String::new();
    for (at, tag) in tags.enumerate() {
        if at > 0 {
            cell.push(SEPARATOR);
        }
        for character in tag.chars() {
            if matches!(character, SEPARATOR | ESCAPE) {
                cell.push(ESCAPE);
            }
            cell.push(character);
        }
    }
    cell
}

/// The tags in a cell.
pub(super) fn split(format: Format, cell: &str) -> Vec<String> {
    match format {
        Format::Hoplog => cell.split(',').map(str::to_owned).collect(),
        Format::Shlink => unescaped(cell),
        Format::Yourls | Format::Bitly => cell.split([',', ';', '|']).map(str::to_owned).collect(),
    }
}

/// What Shlink wrote itself has no escapes: there, a backslash before anything else is one.
fn unescaped(cell: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut tag = String::new();
    let mut characters = cell.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = characters.next_if(|next| character == ESCAPE && matches!(*next, SEPARATOR | ESCAPE));
        match escaped {
            None if character == SEPARATOR => tags.push(std::mem::take(&mut tag)),
            escaped => tag.push(escaped.unwrap_or(character)),
        }
    }
    tags.push(tag);
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_in_shlinks_files_may_hold_what_is_between_them() {
        for (tags, cell) in [
            (&["a"][..], "a"),
            (&["a", "b"], "a|b"),
            (&["a|b", "c"], "a\\|b|c"),
            (&["a\\", "b"], "a\\\\|b"),
            (&["\\|"], "\\\\\\|"),
            (&["|", "|"], "\\||\\|"),
        ] {
            assert_eq!(joined(Format::Shlink, tags.iter().copied()), cell);
            assert_eq!(split(Format::Shlink, cell), tags);
        }
        assert_eq!(split(Format::Shlink, "a\\b|c\\"), ["a\\b", "c\\"], "as Shlink has them");
        assert_eq!(split(Format::Hoplog, "a|b,c"), ["a|b", "c"]);
        assert_eq!(split(Format::Bitly, "a|b;c,d"), ["a", "b", "c", "d"]);
    }
}
