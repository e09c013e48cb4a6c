//! Cursors of lists: where a page ended, as opaque text that clients hand back.
//! They are checked and not signed: whoever makes one up sees no link that the same request without it would not list.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::link::{Cursor, Link, ListQuery, Order};

/// Longest cursor looked at, in bytes. The longest that is made has 2,048 bytes of a target
/// ([`crate::link::ORDERED_CHARS_MAX`]), a code or a title, and is some 2,900 bytes long.
const BYTES_MAX: usize = 8_192;

/// What is in a cursor. The order is, so that one is not used for a list in another.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    #[serde(rename = "o")]
    order: String,
    #[serde(rename = "d")]
    descending: bool,
    #[serde(rename = "a")]
    after: Cursor,
}

/// The cursor for what comes after `link`.
pub(super) fn write(query: &ListQuery, link: &Link) -> String {
    let content = Content {
        order: name(query.order).to_owned(),
        descending: query.descending,
        after: Cursor::at(query.order, link),
    };
    // Strings and numbers always serialise.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&content).unwrap_or_default())
}

/// What a cursor says, if it is one for a list in this order.
pub(super) fn read(text: &str, query: &ListQuery) -> Result<Cursor, &'static str> {
    const UNREADABLE: &str = "is no cursor of this list";
    if text.len() > BYTES_MAX {
        return Err(UNREADABLE);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| UNREADABLE)?;
    let content: Content = serde_json::from_slice(&bytes).map_err(|_| UNREADABLE)?;
    if content.order != name(query.order) || content.descending != query.descending {
        return Err("is of a list in another order");
    }
    if content.after.value.contains('\0') {
        return Err(UNREADABLE);
    }
    if query.order == Order::Created && content.after.value.parse::<i64>().is_err() {
        return Err(UNREADABLE);
    }
    Ok(content.after)
}

fn name(order: Order) -> &'static str {
    match order {
        Order::Created => "created",
        Order::Code => "code",
        Order::Target => "target",
        Order::Title => "title",
    }
}
