//! QR codes of short URLs, with Shlink's parameters: what can't be is replaced by its default or the nearest that can.
//! The image depends on the short URL alone and never on its target, so it may be cached.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use percent_encoding::percent_decode_str;
use png::{BitDepth, ColorType, Encoder};
use qrcode::{Color, EcLevel, QrCode};

use super::names::other_domain;
use super::problem::Problem;
use crate::limits::Limited;
use crate::link::LinkRef;
use crate::service::App;
use crate::{client_addr, codes};
use emitter::Hop;

/// Edge without margin where none is asked for, the least and the most, pixels. Shlink's.
const SIZE_DEFAULT: u32 = 300;
const SIZE_MIN: u32 = 50;
const SIZE_MAX: u32 = 1_000;

/// Widest margin, pixels: as wide as the widest code, so that an image has at most 9 megapixels of one bit.
const MARGIN_MAX: u32 = SIZE_MAX;

/// A short URL that ceases to be is no reason to make its image again before.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// `GET|HEAD /{code}/qr-code`, on the domain of the host as visits are. A link that is over keeps its image, as in
/// Shlink: it may be on paper.
pub(super) async fn show(State(app): State<Arc<App>>, hop: Hop, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let hop = &hop;
    let path = parts.uri.path().trim_start_matches('/');
    let path = path.strip_suffix("/qr-code").unwrap_or(path);
    let code = percent_decode_str(path).decode_utf8_lossy();
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let host = client_addr::host(peer, &parts.uri, &parts.headers, &app.config.http).unwrap_or_default();
    let domain = app.domains.named(host);
    let name = LinkRef { domain: &domain, code: &code };
    if !codes::is_possible(&code, app.config.links.slug_bytes_max) {
        return Problem::short_url_not_found(&code, other_domain(&domain)).answer(hop);
    }
    hop.code(&code);
    let limits = app.limits.visit(hop).and_then(|()| match app.limits.look_up(hop) {
        Err(limited) if !app.cache.holds(name) && !app.cache.holds(LinkRef::on_default(&code)) => {
            Err(limited)
        }
        _ => Ok(()),
    });
    if let Err(limited) = limits {
        return limit(&app, hop, &limited);
    }
    let link = match app.links.look_up(hop, name).await {
        Ok(lookup) => {
            lookup.note(hop);
            lookup.link
        }
        Err(error) => return Problem::unavailable(hop, error.kind(), &error),
    };
    let Some(link) = link else {
        if let Err(limited) = app.limits.unknown_code(hop) {
            return limit(&app, hop, &limited);
        }
        return Problem::short_url_not_found(&code, other_domain(&domain)).answer(hop);
    };
    if let Some(domain) = other_domain(&link.domain) {
        hop.domain(domain);
    }
    let url = app.short_url(LinkRef { domain: &link.domain, code: &code });
    match image(&url, &wanted(parts.uri.query().unwrap_or_default())) {
        Ok(image) => image,
        Err(error @ QrError::TooLong(_)) => Problem::no_qr_code(&error.to_string()).answer(hop),
        Err(error @ QrError::Png(_)) => Problem::unavailable(hop, "qr_failed", &error),
    }
}

fn limit(app: &App, hop: &Hop, limited: &Limited) -> Response {
    app.refuse(hop, limited);
    Problem::limited(limited).answer(hop)
}

/// How an image is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    svg: bool,
    size: u32,
    margin: u32,
    level: EcLevel,
    color: [u8; 3],
    background: [u8; 3],
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
enum QrError {
    /// The text does not fit.
    #[error("the short URL is too long for a QR code")]
    TooLong(#[source] qrcode::types::QrError),
    /// It could not be written.
    #[error("the image could not be written")]
    Png(#[source] png::EncodingError),
}

/// Reads the query of a request for an image. `roundBlockSize` is ignored: blocks are always whole pixels.
fn wanted(query: &str) -> Wanted {
    let mut wanted = Wanted {
        svg: false,
        size: SIZE_DEFAULT,
        margin: 0,
        level: EcLevel::L,
        color: [0; 3],
        background: [255; 3],
    };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "format" => wanted.svg = value.eq_ignore_ascii_case("svg"),
            "size" => {
                wanted.size = value.parse().map_or(SIZE_DEFAULT, |size: u32| size.clamp(SIZE_MIN, SIZE_MAX));
            }
            "margin" => wanted.margin = value.parse().map_or(0, |margin: u32| margin.min(MARGIN_MAX)),
            "errorCorrection" => {
                wanted.level = match value.to_ascii_lowercase().as_str() {
                    "m" => EcLevel::M,
                    "q" => EcLevel::Q,
                    "h" => EcLevel::H,
                    _ => EcLevel::L,
                }
            }
            "color" => wanted.color = color(&value).unwrap_or([0; 3]),
            "bgColor" => wanted.background = color(&value).unwrap_or([255; 3]),
            _ => {}
        }
    }
    wanted
}

/// The image of `text`.
fn image(text: &str, wanted: &Wanted) -> Result<Response, QrError> {
    let code = QrCode::with_error_correction_level(text, wanted.level).map_err(QrError::TooLong)?;
    let (kind, bytes) = match wanted.svg {
        true => ("image/svg+xml", svg(&code, wanted).into_bytes()),
        false => ("image/png", png(&code, wanted)?),
    };
    let mut response = (StatusCode::OK, Body::from(bytes)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, CACHED);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // An SVG that is opened as a page runs nothing.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    Ok(response)
}

/// `#rgb` or `#rrggbb`, with or without `#`.
fn color(text: &str) -> Option<[u8; 3]> {
    let digits: Vec<u8> = text
        .trim_start_matches('#')
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    match digits[..] {
        [red, green, blue] => Some([red * 17, green * 17, blue * 17]),
        [r1, r0, g1, g0, b1, b0] => Some([r1 * 16 + r0, g1 * 16 + g0, b1 * 16 + b0]),
        _ => None,
    }
}

/// Where modules lie in the image: pixels a module, pixels before the first, pixels an edge.
struct Layout {
    module: usize,
    offset: usize,
    edge: usize,
}

/// Modules are as large as whole pixels allow and what is left goes around them, as scanners like it. A code with more
/// modules than `size` has pixels gets a pixel a module, and the image becomes larger.
fn layout(modules: usize, wanted: &Wanted) -> Layout {
    let (size, margin) = (wanted.size as usize, wanted.margin as usize);
    let module = (size / modules).max(1);
    let inner = size.max(modules);
    Layout { module, offset: margin + (inner - module * modules) / 2, edge: inner + 2 * margin }
}

fn png(code: &QrCode, wanted: &Wanted) -> Result<Vec<u8>, QrError> {
    let (modules, colors) = (code.width(), code.to_colors());
    let Layout { module, offset, edge } = layout(modules, wanted);
    let row_bytes = edge.div_ceil(8);
    let mut pixels = vec![0_u8; row_bytes * edge];
    for (index, _) in colors.iter().enumerate().filter(|(_, color)| **color == Color::Dark) {
        let (left, top) = (offset + index % modules * module, offset + index / modules * module);
        for y in top..top + module {
            for x in left..left + module {
                pixels[y * row_bytes + x / 8] |= 0x80 >> (x % 8);
            }
        }
    }
    let mut bytes = Vec::new();
    let pixels_an_edge = u32::try_from(edge).unwrap_or(u32::MAX);
    let mut encoder = Encoder::new(&mut bytes, pixels_an_edge, pixels_an_edge);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::One);
    encoder.set_palette([wanted.background, wanted.color].concat());
    let mut writer = encoder.write_header().map_err(QrError::Png)?;
    writer.write_image_data(&pixels).map_err(QrError::Png)?;
    writer.finish().map_err(QrError::Png)?;
    Ok(bytes)
}

fn svg(code: &QrCode, wanted: &Wanted) -> String {
    let (modules, colors) = (code.width(), code.to_colors());
    let Layout { module, offset, edge } = layout(modules, wanted);
    let hex = |[red, green, blue]: [u8; 3]| format!("#{red:02x}{green:02x}{blue:02x}");
    let mut path = String::new();
    for (index, _) in colors.iter().enumerate().filter(|(_, color)| **color == Color::Dark) {
        let (left, top) = (offset + index % modules * module, offset + index / modules * module);
        // Writing to a string can't fail.
        let _ = write!(path, "M{left} {top}h{module}v{module}h-{module}z");
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{edge}\" height=\"{edge}\" viewBox=\"0 0 {edge} {edge}\" \
         shape-rendering=\"crispEdges\"><rect width=\"{edge}\" height=\"{edge}\" fill=\"{}\"/><path fill=\"{}\" \
         d=\"{path}\"/></svg>",
        hex(wanted.background),
        hex(wanted.color)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_and_what_can_not_be_is_replaced() {
        let plain = wanted("");
        assert_eq!((plain.svg, plain.size, plain.margin), (false, 300, 0));
        let all = wanted(
            "format=SVG&size=200&margin=7&errorCorrection=h&color=%23f0a&bgColor=102030&roundBlockSize=false",
        );
        assert_eq!((all.svg, all.size, all.margin, all.level), (true, 200, 7, EcLevel::H));
        assert_eq!((all.color, all.background), ([255, 0, 170], [16, 32, 48]));
        let wild =
            wanted("format=gif&size=9999999999&margin=-1&errorCorrection=z&color=red&bgColor=%23ffäää");
        assert_eq!(wild, plain);
        assert_eq!((wanted("size=1").size, wanted("size=5000").size), (SIZE_MIN, SIZE_MAX));
        assert_eq!(wanted("margin=4000000").margin, MARGIN_MAX);
    }

    #[test]
    fn modules_are_whole_and_in_the_middle() {
        let wanted = wanted("size=100&margin=5");
        let Layout { module, offset, edge } = layout(29, &wanted);
        assert_eq!((module, offset, edge), (3, 5 + 6, 110));
        let Layout { module, offset, edge } = layout(177, &super::wanted("size=50"));
        assert_eq!((module, offset, edge), (1, 0, 177), "more modules than pixels");
    }
}
