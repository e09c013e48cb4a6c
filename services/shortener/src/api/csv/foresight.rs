//! What an import would do, for `dryRun`: the store is asked and nothing is written.
//! What others do meanwhile is not foreseen; a link that the same file would make before, is.

use std::collections::HashMap;

use super::results::{Fate, Known};
use crate::access::Access;
use crate::link::{LinkRef, Match};
use crate::links::{Alias, CreateLink};
use crate::service::App;
use crate::store::StoreError;
use emitter::Hop;

/// Links that the rows so far would make.
#[derive(Debug, Default)]
pub(super) struct Foresight {
    /// Targets by domain and slug.
    named: HashMap<(String, String), String>,
    /// What is as good as one with a generated code, by domain and target.
    generated: HashMap<(String, String), Vec<Match>>,
}

impl Foresight {
    /// What would become of links to be made.
    pub(super) async fn fates(
        &mut self,
        app: &App,
        hop: &Hop,
        access: &Access,
        requests: &[CreateLink],
    ) -> Result<Vec<Fate>, StoreError> {
        let names = requests.iter().filter(|request| !request.slug().is_empty());
        let names: Vec<_> =
            names.map(|request| LinkRef { domain: &request.domain, code: request.slug() }).collect();
        let known = Known::of(app, hop, access, &names).await?;
        let mut fates = Vec::with_capacity(requests.len());
        for request in requests {
            fates.push(match &request.alias {
                Alias::Custom { slug, .. } => self.named(app, &known, request, slug),
                Alias::Generated { .. } => self.generated(app, hop, request).await?,
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
        Fate::Created(Some(app.short_url(name)))
    }

    async fn generated(&mut self, app: &App, hop: &Hop, request: &CreateLink) -> Result<Fate, StoreError> {
        let Some(by) = &request.unless else { return Ok(Fate::Created(None)) };
        if let Some(found) = app.links.find_match(hop, request.target.as_str(), by).await? {
            return Ok(Fate::Unchanged(Some(app.short_url(found.name()))));
        }
        let place = (request.domain.clone(), request.target.as_str().to_owned());
        let before = self.generated.entry(place).or_default();
        if before.contains(by) {
            return Ok(Fate::Unchanged(None));
        }
        before.push(by.clone());
        Ok(Fate::Created(None))
    }
}
