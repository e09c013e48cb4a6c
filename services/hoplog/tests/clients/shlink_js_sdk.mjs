// Does with a running hoplog what Shlink's own JavaScript client can do, through that client, unmodified.
// usage: node shlink_js_sdk.mjs URL KEY NODE_MODULES
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [baseUrl, apiKey, modules] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(join(modules, '@shlinkio', 'shlink-js-sdk', 'dist', file)));
const { ShlinkApiClient } = await load('index.js');
const { FetchHttpClient } = await load('fetch.js');
const { NodeHttpClient } = await load('node.js');

const problem = (name) => ({ type: `https://shlink.io/api/error/${name}` });
const codes = (list) => list.data.map(({ shortCode }) => shortCode);

// Both ways in which the client speaks HTTP, each with slugs, tags and a domain of its own.
for (const [own, http] of [['node', new NodeHttpClient()], ['fetch', new FetchHttpClient()]]) {
  const client = new ShlinkApiClient(http, { baseUrl, apiKey });
  await misc(client, http);
  await shortUrls(client, own);
  await lists(client, own);
  await rules(client, own);
  await tags(client, own);
  await domains(client, own);
  await visits(client, own);
}
console.log('shlink-js-sdk: all as with Shlink');

async function misc(client, http) {
  const { status, version } = await client.health();
  assert.equal(status, 'pass');
  assert.match(version, /^\d+\.\d+\.\d+$/);
  await assert.rejects(client.mercureInfo(), problem('mercure-not-configured'));
  const stranger = new ShlinkApiClient(http, { baseUrl, apiKey: 'no key' });
  await assert.rejects(stranger.listShortUrls(), problem('invalid-api-key'));
}

async function shortUrls(client, own) {
  const shortCode = `sdk-${own}`;
  const made = await client.createShortUrl({
    longUrl: 'https://example.com/made', customSlug: shortCode, title: 'Made', tags: ['One Two', `a-${own}`],
    crawlable: true, forwardQuery: true, validSince: '2020-01-01T00:00:00+00:00',
    validUntil: '2999-01-01T00:00:00+00:00', maxVisits: 10,
  });
  assert.deepEqual(
    { ...made, dateCreated: null, visitsSummary: undefined },
    {
      ...made, dateCreated: null, visitsSummary: undefined, shortCode, shortUrl: `${baseUrl}/${shortCode}`,
      longUrl: 'https://example.com/made', title: 'Made', tags: [`a-${own}`, 'one-two'], domain: null, crawlable: true,
      forwardQuery: true, hasRedirectRules: false,
      meta: { validSince: '2020-01-01T00:00:00+00:00', validUntil: '2999-01-01T00:00:00+00:00', maxVisits: 10 },
    },
  );
  assert.ok(Math.abs(Date.parse(made.dateCreated) - Date.now()) < 24 * 3_600_000);
  const again = { longUrl: 'https://example.com/other', customSlug: shortCode };
  await assert.rejects(client.createShortUrl(again), { ...problem('non-unique-slug'), customSlug: shortCode });
  await assert.rejects(client.createShortUrl({ longUrl: 'no url', maxVisits: -1 }),
    { ...problem('invalid-data'), invalidElements: ['longUrl', 'maxVisits'] });
  const same = { longUrl: `https://example.com/found-${own}`, findIfExists: true };
  assert.deepEqual((await client.createShortUrl(same)).shortCode, (await client.createShortUrl(same)).shortCode);
  assert.equal((await client.createShortUrl({ longUrl: 'https://example.com/', shortCodeLength: 9 })).shortCode.length, 9);

  assert.equal((await client.getShortUrl({ shortCode })).longUrl, made.longUrl);
  const edited = await client.updateShortUrl({ shortCode }, {
    longUrl: 'https://example.com/edited', title: null, tags: [], validUntil: null, maxVisits: null, crawlable: false,
  });
  assert.deepEqual([edited.longUrl, edited.title, edited.tags], ['https://example.com/edited', null, []]);
  assert.deepEqual(edited.meta, { validSince: '2020-01-01T00:00:00+00:00', validUntil: null, maxVisits: null });

  const deep = `deep/${own}/slug`;
  assert.equal((await client.createShortUrl({ longUrl: 'https://example.com/', customSlug: deep })).shortCode, deep);
  await client.updateShortUrl({ shortCode: deep }, { title: 'Deep' });
  assert.equal((await client.getShortUrl({ shortCode: deep })).title, 'Deep');
  await client.deleteShortUrl({ shortCode: deep });

  await client.deleteShortUrl({ shortCode });
  for (const call of ['getShortUrl', 'deleteShortUrl', 'getShortUrlRedirectRules']) {
    await assert.rejects(client[call]({ shortCode }), { ...problem('short-url-not-found'), shortCode });
  }
}

async function lists(client, own) {
  const tagged = (...names) => names.map((name) => `${name}-${own}`);
  const make = (slug, more) => client.createShortUrl({ longUrl: `https://example.com/list-${own}/${slug}`, customSlug: `${slug}-${own}`, ...more });
  await make('one', { title: 'Zebra', tags: tagged('red', 'blue') });
  await make('two', { title: 'Apple', tags: tagged('red') });
  await make('three', { title: 'Mango', tags: tagged('green'), validUntil: '2020-01-01T00:00:00+00:00' });
  const mine = { searchTerm: `list-${own}`, orderBy: { field: 'title', dir: 'ASC' } };
  const listed = async (params) => codes(await client.listShortUrls({ ...mine, ...params }));
  for (const [params, expected] of [
    [{}, ['two', 'three', 'one']],
    [{ orderBy: { field: 'shortCode', dir: 'DESC' } }, ['two', 'three', 'one']],
    [{ orderBy: { field: 'dateCreated', dir: 'ASC' } }, ['one', 'two', 'three']],
    [{ tags: tagged('red') }, ['two', 'one']],
    [{ tags: tagged('red', 'blue'), tagsMode: 'all' }, ['one']],
    [{ excludeTags: tagged('red') }, ['three']],
    [{ excludeTags: tagged('red', 'blue'), excludeTagsMode: 'all' }, ['two', 'three']],
    [{ excludePastValidUntil: true }, ['two', 'one']],
    [{ excludeMaxVisitsReached: true }, ['two', 'three', 'one']],
    [{ startDate: '2020-01-01T00:00:00Z', endDate: '2999-01-01T00:00:00Z' }, ['two', 'three', 'one']],
    [{ endDate: '2020-01-01T00:00:00Z' }, []],
    [{ domain: 'DEFAULT' }, ['two', 'three', 'one']],
    [{ itemsPerPage: 2, page: '2' }, ['one']],
  ]) {
    assert.deepEqual(await listed(params), expected.map((slug) => `${slug}-${own}`), JSON.stringify(params));
  }
  const { pagination: { nextCursor, ...pagination } } = await client.listShortUrls({ ...mine, itemsPerPage: 2 });
  assert.ok(nextCursor, 'ours beside Shlink\'s');
  assert.deepEqual(pagination, { currentPage: 1, pagesCount: 2, itemsPerPage: 2, itemsInCurrentPage: 2, totalItems: 3 });
}

async function rules(client, own) {
  const shortCode = `rules-${own}`;
  await client.createShortUrl({ longUrl: 'https://example.com/else', customSlug: shortCode });
  const none = { defaultLongUrl: 'https://example.com/else', redirectRules: [] };
  assert.deepEqual(await client.getShortUrlRedirectRules({ shortCode }), none);
  const condition = (type, matchKey, matchValue) => ({ type, matchKey, matchValue });
  const redirectRules = [
    { longUrl: 'https://example.com/phone', conditions: [condition('device', null, 'android'), condition('language', null, 'en-gb')] },
    { longUrl: 'https://example.com/query', conditions: [condition('query-param', 'a', 'b')] },
    { longUrl: 'https://example.com/more', conditions: [
      condition('any-value-query-param', 'c', null), condition('valueless-query-param', 'd', null),
      condition('ip-address', null, '192.0.2.*'), condition('geolocation-country-code', null, 'DE'),
      condition('after-date', null, '2020-01-01T00:00:00+00:00'), condition('before-date', null, '2999-01-01T00:00:00+00:00'),
    ] },
  ];
  const expected = { ...none, redirectRules: redirectRules.map((rule, at) => ({ ...rule, priority: at + 1 })) };
  assert.deepEqual(await client.setShortUrlRedirectRules({ shortCode }, { redirectRules }), expected);
  assert.deepEqual(await client.getShortUrlRedirectRules({ shortCode }), expected);
  assert.equal((await client.getShortUrl({ shortCode })).hasRedirectRules, true);
  const wrong = [{ longUrl: 'https://example.com/', conditions: [condition('device', null, 'toaster')] }];
  await assert.rejects(client.setShortUrlRedirectRules({ shortCode }, { redirectRules: wrong }), problem('invalid-data'));
  const visited = await fetch(`${baseUrl}/${shortCode}?a=b`, { redirect: 'manual' });
  assert.equal(visited.headers.get('location'), 'https://example.com/query?a=b');
  assert.deepEqual(await client.setShortUrlRedirectRules({ shortCode }, { redirectRules: [] }), none);
}

async function tags(client, own) {
  const [old, other, renamed] = ['old', 'other', 'renamed'].map((name) => `tag-${own}-${name}`);
  await client.createShortUrl({ longUrl: 'https://example.com/', customSlug: `tags-${own}`, tags: [old, other] });
  assert.ok((await client.listTags()).data.includes(old));
  const stats = (await client.tagsStats()).data.find(({ tag }) => tag === old);
  assert.equal(stats.shortUrlsCount, 1);
  assert.deepEqual(await client.editTag({ oldName: old, newName: renamed }), { oldName: old, newName: renamed });
  await assert.rejects(client.editTag({ oldName: old, newName: 'x' }), { ...problem('tag-not-found'), tag: old });
  await assert.rejects(client.editTag({ oldName: other, newName: renamed }), problem('tag-conflict'));
  assert.deepEqual((await client.getShortUrl({ shortCode: `tags-${own}` })).tags, [other, renamed]);
  await client.deleteTags([other, renamed]);
  const left = (await client.listTags()).data;
  assert.ok(!left.includes(other) && !left.includes(renamed));
  assert.deepEqual((await client.getShortUrl({ shortCode: `tags-${own}` })).tags, []);
}

async function domains(client, own) {
  const [shortCode, domain] = [`domains-${own}`, `${own}.example`];
  const made = await client.createShortUrl({ longUrl: 'https://example.com/', customSlug: shortCode, domain });
  assert.deepEqual([made.domain, made.shortUrl], [domain, `http://${domain}/${shortCode}`]);
  assert.equal((await client.getShortUrl({ shortCode, domain })).domain, domain);
  await assert.rejects(client.getShortUrl({ shortCode }), problem('short-url-not-found'));
  assert.deepEqual(codes(await client.listShortUrls({ domain })), [shortCode]);
  const set = await client.editDomainRedirects({ domain, baseUrlRedirect: 'https://example.com/base' });
  const redirects = { baseUrlRedirect: 'https://example.com/base', regular404Redirect: null, invalidShortUrlRedirect: null };
  assert.deepEqual(set, redirects);
  const { data, defaultRedirects } = await client.listDomains();
  assert.deepEqual(data[0], { domain: new URL(baseUrl).host, isDefault: true, redirects: defaultRedirects });
  assert.deepEqual(data.find((listed) => listed.domain === domain), { domain, isDefault: false, redirects });
}

async function visits(client, own) {
  const [shortCode, tag, domain] = [`visits-${own}`, `visited-${own}`, `visited-${own}.example`];
  await client.createShortUrl({ longUrl: 'https://example.com/visited', customSlug: shortCode, tags: [tag] });
  await client.createShortUrl({ longUrl: 'https://example.com/elsewhere', customSlug: shortCode, tags: [tag], domain });
  const browser = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
  const bot = 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)';
  const visit = (path, agent) => fetch(`${baseUrl}/${path}`,
    { redirect: 'manual', headers: { 'User-Agent': agent, Referer: 'https://news.example/item' } });
  for (const agent of [browser, bot]) {
    assert.equal((await visit(shortCode, agent)).status, 302);
  }
  assert.equal((await visit(`unknown-${own}`, browser)).status, 404);

  const total = (list) => list.pagination.totalItems;
  const seen = await until(() => client.getShortUrlVisits({ shortCode }), (list) => total(list) === 2);
  assert.deepEqual(seen.data.map(({ potentialBot }) => potentialBot).sort(), [false, true]);
  const { referer, date, userAgent, visitLocation, visitedUrl } = seen.data.find((visit) => !visit.potentialBot);
  assert.deepEqual([referer, visitLocation, visitedUrl], ['https://news.example', null, `${baseUrl}/${shortCode}`]);
  assert.match(userAgent, /Firefox/);
  assert.ok(Math.abs(Date.parse(date) - Date.now()) < 24 * 3_600_000);
  const summary = { total: 2, nonBots: 1, bots: 1 };
  const counted = ({ visitsSummary: { total, nonBots, bots } }) => ({ total, nonBots, bots });
  assert.deepEqual(counted(await client.getShortUrl({ shortCode })), summary);
  assert.deepEqual((await client.listShortUrls({ tags: [tag], domain: 'DEFAULT' })).data.map(counted), [summary]);
  // By visits: the link that has some, and the one of its name elsewhere that has none.
  for (const [field, dir, expected] of [['visits', 'DESC', [2, 0]], ['visits', 'ASC', [0, 2]], ['nonBotVisits', 'DESC', [2, 0]]]) {
    const ordered = await client.listShortUrls({ tags: [tag], orderBy: { field, dir } });
    assert.deepEqual(ordered.data.map(({ visitsSummary }) => visitsSummary.total), expected, `${field}-${dir}`);
  }

  assert.equal(total(await client.getShortUrlVisits({ shortCode }, { excludeBots: true })), 1);
  assert.equal(total(await client.getShortUrlVisits({ shortCode }, { endDate: '2020-01-01T00:00:00Z' })), 0);
  assert.equal(total(await client.getShortUrlVisits({ shortCode, domain })), 0);
  assert.equal(total(await client.getTagVisits(tag)), 2);
  assert.equal(total(await client.getTagVisits(tag, { domain })), 0);
  assert.equal(total(await client.getDomainVisits(domain)), 0);
  for (const list of [await client.getDomainVisits('DEFAULT'), await client.getNonOrphanVisits()]) {
    assert.ok(list.data.some((visit) => visit.visitedUrl === `${baseUrl}/${shortCode}`), JSON.stringify(list));
  }
  const linked = (list) => list.data.some((visit) => visit.visitedUrl === `${baseUrl}/${shortCode}`);
  assert.ok(linked(await client.getNonOrphanVisits({ domain: 'DEFAULT' })));
  assert.equal(total(await client.getNonOrphanVisits({ domain })), 0);
  // Again and again: one in the second in which the client before deleted them counts as deleted.
  const visitedInVain = async () => {
    await visit(`unknown-${own}`, browser);
    return client.getOrphanVisits({ type: 'invalid_short_url' });
  };
  const orphans = await until(visitedInVain,
    (list) => list.data.some((visit) => visit.visitedUrl === `${baseUrl}/unknown-${own}`));
  assert.ok(orphans.data.every(({ type }) => type === 'invalid_short_url'));
  assert.ok(total(await client.getOrphanVisits({ domain: 'DEFAULT' })) >= 1);
  assert.equal(total(await client.getOrphanVisits({ domain })), 0);
  const overview = await client.getVisitsOverview();
  assert.ok(overview.nonOrphanVisits.total >= 2 && overview.orphanVisits.total >= 1, JSON.stringify(overview));
  await assert.rejects(client.getShortUrlVisits({ shortCode: 'no-such-link' }), problem('short-url-not-found'));

  // Deleted is what came before this second, and the visits of this one count as before it.
  assert.deepEqual(await client.deleteShortUrlVisits({ shortCode }), { deletedVisits: 2 });
  assert.equal(total(await client.getShortUrlVisits({ shortCode })), 0);
  assert.ok((await client.deleteOrphanVisits()).deletedVisits >= 1);
  assert.equal(total(await client.getOrphanVisits()), 0);
}

/** Asks until the answer is as wanted: visits are counted after they were answered. */
async function until(ask, isWanted) {
  const patience = Date.now() + 120_000;
  for (;;) {
    const answer = await ask();
    if (isWanted(answer)) return answer;
    assert.ok(Date.now() < patience, `waited in vain, at last: ${JSON.stringify(answer)}`);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}
