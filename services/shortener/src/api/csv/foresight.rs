//! What an import would do, for `dryRun`: the store is asked and nothing is written.
//! What others do meanwhile is not foreseen; a link that the same file would make before, is.

use std::collections::HashMap;

use super::results::{Fate, Known};
use crate::access::Access;
use crate::link::{LinkRef, Settings};
use crate::links::{Alias, CreateLink};
use crate::service::App;
use crate::store::StoreError;
use emitter::Hop;

/// Links that the rows so far would make.
#[derive(Debug, Default)]
pub(super) struct Foresight {
    /// Targets by domain and slug.
    named: HashMap<(String, String), String>,
    /// What is set on them, by domain and target: a row without a code may do with one of them.
    made: HashMap<(String, String), Vec<Foreseen>>,
}

/// A link that a row would make.
#[derive(Debug)]
struct Foreseen {
    settings: Settings,
    /// Where its code is known already.
    short_url: Option<String>,
}

impl Foresight {
    /// What would become of links to be made; a row without a request can be none.
    pub(super) async fn fates(
        &mut self,
        app: &App,
        hop: &Hop,
        access: &Access,
        requests: &[Option<&CreateLink>],
    ) -> Result<Vec<Fate>, StoreError> {
        let names = requests.iter().flatten().filter(|request| !request.slug().is_empty());
        let names: Vec<_> =
            names.map(|request| LinkRef { domain: &request.domain, code: request.slug() }).collect();
        let known = Known::of(app, hop, access, &names).await?;
        let mut fates = Vec::with_capacity(requests.len());
        for request in requests {
            fates.push(match request.map(|request| (request, &request.alias)) {
                Some((request, Alias::Custom { slug, .. })) => self.named(app, &known, request, slug),
                Some((request, Alias::Generated { .. })) => self.generated(app, hop, request).await?,
                None => Fate::Refused,
            });
        }
        Ok(fates)
    }

    fn named(&mut self, app: &App, known: &Known, request: &CreateLink, slug: &str) -> Fate {
        if let Some(fate) = known.fate(app, request) {
            return fate;
        }
        let name = LinkRef { domain: &request.domain, code: slug };
        let before = self.named.get(&(request.domain.clone(), slug.to_owned()));
        if let Some(target) = before {
            return match target == request.target.as_str() {
                true => Fate::Unchanged(Some(app.short_url(name))),
                false => Fate::Taken,
            };
        }
        let target = request.target.as_str().to_owned();
        self.named.insert((request.domain.clone(), slug.to_owned()), target);
        self.created(request, Some(app.short_url(name)))
    }

    async fn generated(&mut self, app: &App, hop: &Hop, request: &CreateLink) -> Result<Fate, StoreError> {
        let Some(by) = &request.unless else { return Ok(self.created(request, None)) };
        // The newest is taken, so first what would be made before. All of it is of this key, which so reaches it.
        let before = self.made.get(&place(request)).map_or(&[][..], Vec::as_slice);
        if let Some(found) = before.iter().rev().find(|link| by.suits(&link.settings)) {
            return Ok(Fate::Unchanged(found.short_url.clone()));
        }
        if let Some(found) = app.links.find_match(hop, request.target.as_str(), by).await? {
            return Ok(Fate::Unchanged(Some(app.short_url(found.name()))));
        }
        Ok(self.created(request, None))
    }

    fn created(&mut self, request: &CreateLink, short_url: Option<String>) -> Fate {
        let link = Foreseen { settings: request.settings.clone(), short_url: short_url.clone() };
        self.made.entry(place(request)).or_default().push(link);
        Fate::Created(short_url)
    }
}

fn place(request: &CreateLink) -> (String, String) {
    (request.domain.clone(), request.target.as_str().to_owned())
}
