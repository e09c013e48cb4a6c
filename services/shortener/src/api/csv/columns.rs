//! Which column of a file is what: the names that each format has, and how a format is known by them.
//! Names are compared without case, spaces and punctuation, as exports differ in these.

use super::Format;

/// Columns of a file at most. Bitly's have some twenty.
const COLUMNS_MAX: usize = 100;

/// Characters of a column's name that are said again in an answer: the longest of ours has 14.
const NAME_CHARS_MAX: usize = 40;

/// What a column of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// The short code, or a path that ends in it.
    Code,
    /// The whole short URL.
    ShortUrl,
    /// Another short URL of the same link, that somebody chose.
    CustomUrl,
    Domain,
    LongUrl,
    Title,
    Tags,
    ValidSince,
    ValidUntil,
    MaxVisits,
    Crawlable,
    ForwardQuery,
    RedirectStatus,
    CacheLifetime,
    Rules,
    CreatedAt,
    VisitsFrom,
    /// What no link has here.
    Dropped,
}

/// Columns of our own format, in the order of an export.
pub(super) const HOPLOG: [(&str, Column); 15] = [
    ("shortCode", Column::Code),
    ("domain", Column::Domain),
    ("longUrl", Column::LongUrl),
    ("title", Column::Title),
    ("tags", Column::Tags),
    ("validSince", Column::ValidSince),
    ("validUntil", Column::ValidUntil),
    ("maxVisits", Column::MaxVisits),
    ("crawlable", Column::Crawlable),
    ("forwardQuery", Column::ForwardQuery),
    ("redirectStatus", Column::RedirectStatus),
    ("cacheLifetime", Column::CacheLifetime),
    ("redirectRules", Column::Rules),
    ("createdAt", Column::CreatedAt),
    ("visitsFrom", Column::VisitsFrom),
];

/// Shlink's, in the order of an export.
pub(super) const SHLINK: [(&str, Column); 8] = [
    ("createdAt", Column::CreatedAt),
    ("title", Column::Title),
    ("shortUrl", Column::ShortUrl),
    ("domain", Column::Domain),
    ("shortCode", Column::Code),
    ("longUrl", Column::LongUrl),
    ("tags", Column::Tags),
    ("visits", Column::Dropped),
];

/// Of the table of YOURLS, and of its export plugin.
const YOURLS: [(&str, Column); 9] = [
    ("keyword", Column::Code),
    ("url", Column::LongUrl),
    ("title", Column::Title),
    ("timestamp", Column::CreatedAt),
    ("ip", Column::Dropped),
    ("clicks", Column::Dropped),
    ("source", Column::Code),
    ("target", Column::LongUrl),
    ("hits", Column::Dropped),
];

/// The spellings of Bitly's exports and of what its API gives.
const BITLY: [(&str, Column); 13] = [
    ("link", Column::ShortUrl),
    ("bitlink", Column::ShortUrl),
    ("customLink", Column::CustomUrl),
    ("customBitlink", Column::CustomUrl),
    ("customBitlinks", Column::CustomUrl),
    ("longUrl", Column::LongUrl),
    ("destinationUrl", Column::LongUrl),
    ("destination", Column::LongUrl),
    ("title", Column::Title),
    ("tags", Column::Tags),
    ("created", Column::CreatedAt),
    ("createdAt", Column::CreatedAt),
    ("createdDate", Column::CreatedAt),
];

/// What the first row of a file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) format: Format,
    columns: Vec<Column>,
    /// Names of columns that are dropped.
    pub(super) dropped: Vec<String>,
}

impl Header {
    /// Reads it; `format` where the client says which it is.
    pub(super) fn read(names: &[&str], format: Option<Format>) -> Result<Self, String> {
        if names.len() > COLUMNS_MAX {
            return Err(format!("The first row has more than {COLUMNS_MAX} columns."));
        }
        let plain: Vec<String> = names.iter().map(|name| plain(name)).collect();
        let Some(format) = format.or_else(|| recognised(&plain)) else {
            return Err(
                "The first row is not the header of a known format: hoplog (longUrl), shlink (shortUrl, \
                        longUrl), yourls (keyword, url) or bitly (link, long_url), separated by commas."
                    .to_owned(),
            );
        };
        let mut header = Self { format, columns: Vec::new(), dropped: Vec::new() };
        for (name, plain) in names.iter().zip(&plain) {
            let name: String = name.chars().take(NAME_CHARS_MAX).collect();
            let column = column(format, plain).ok_or_else(|| {
                format!("The column {name:?} is not known in the format {}.", format.name())
            })?;
            match column {
                Column::Dropped => header.dropped.push(name),
                column if header.columns.contains(&column) => {
                    return Err(format!("The column {name:?} says the same as another one."));
                }
                _ => {}
            }
            header.columns.push(column);
        }
        if !header.columns.contains(&Column::LongUrl) {
            return Err(format!("The format {} needs a column for the long URL.", format.name()));
        }
        Ok(header)
    }

    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The cell of a column, without space around it; nothing where it is empty or not there.
    pub(super) fn cell<'a>(&self, row: &'a csv::StringRecord, column: Column) -> Option<&'a str> {
        let at = self.columns.iter().position(|known| *known == column)?;
        row.get(at).map(str::trim).filter(|cell| !cell.is_empty())
    }
}

/// Which format has such columns.
fn recognised(plain: &[String]) -> Option<Format> {
    let has = |name: &str| plain.iter().any(|known| known == name);
    let target = has("longurl") || has("destinationurl") || has("destination");
    if (has("keyword") && has("url")) || (has("source") && has("target")) {
        Some(Format::Yourls)
    } else if target && (has("link") || has("bitlink")) {
        Some(Format::Bitly)
    } else if has("longurl") && (has("shorturl") || has("visits")) {
        Some(Format::Shlink)
    } else {
        has("longurl").then_some(Format::Hoplog)
    }
}

fn column(format: Format, name: &str) -> Option<Column> {
    let known: &[(&str, Column)] = match format {
        Format::Hoplog => &HOPLOG,
        Format::Shlink => &SHLINK,
        Format::Yourls => &YOURLS,
        Format::Bitly => &BITLY,
    };
    let found = known.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, column)| *column);
    // What else Bitly has in a file is counts and labels of its own.
    found.or((format == Format::Bitly).then_some(Column::Dropped))
}

fn plain(name: &str) -> String {
    name.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_columns() {
        for (names, format) in [
            (&["longUrl"][..], Format::Hoplog),
            (&["Short Code", "LONG_URL", "title"], Format::Hoplog),
            (&["createdAt", "title", "shortUrl", "longUrl", "tags", "visits"], Format::Shlink),
            (&["Long URL", "Short code", "Visits"], Format::Shlink),
            (&["keyword", "url", "title", "timestamp", "ip", "clicks"], Format::Yourls),
            (&["source", "target", "hits"], Format::Yourls),
            (&["Link", "Custom Link", "Destination URL", "Title", "Engagements"], Format::Bitly),
            (&["long_url", "link", "title", "created_at", "archived"], Format::Bitly),
        ] {
            assert_eq!(Header::read(names, None).map(|header| header.format), Ok(format), "{names:?}");
        }
        let dropped = Header::read(&["link", "long_url", "Total Clicks"], None).unwrap().dropped;
        assert_eq!(dropped, ["Total Clicks"]);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for (names, format, why) in [
            (&["https://example.com/", "a"][..], None, "not the header"),
            (&["longUrl;title"], None, "not the header"),
            (&[""], None, "not the header"),
            (&["longUrl", "colour"], None, "\"colour\" is not known in the format hoplog"),
            (&["longUrl", ""], None, "is not known"),
            (&["longUrl", "long_url"], None, "the same as another"),
            (&["keyword", "url", "source"], None, "the same as another"),
            (&["title"], Some(Format::Hoplog), "for the long URL"),
            (&["longUrl", "title"], Some(Format::Yourls), "is not known in the format yourls"),
        ] {
            let said = Header::read(names, format).unwrap_err();
            assert!(said.contains(why), "{names:?}: {said}");
        }
    }
}
