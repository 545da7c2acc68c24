'use strict';

/*
 * The embedded server, for trying out, development and CI: PouchDB Server (express-pouchdb) with log-in and repairs.
 *
 * It reads one line of JSON from standard input, so that no password is in the process list or the environment:
 *
 *   {"host": "127.0.0.1", "port": 0, "data": "/folder" or null for memory,
 *    "admin": {"name": "...", "password": "..."} or null, "users": [{"name": "...", "password": "..."}]}
 *
 * It prints one line of JSON, {"url": "http://127.0.0.1:PORT"} when it is ready or {"error": "..."}, then exit code 1.
 * It exits when standard input closes, as it does whenever the parent exits, and on SIGTERM and SIGINT.
 */

const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const readline = require('node:readline');
const vm = require('node:vm');

const express = require('express');
const PouchDB = require('pouchdb');
const createMapReduce = require('pouchdb-abstract-mapreduce');
const pouchServer = require('express-pouchdb');

// Enough for any request of dataloader; small enough for several requests in memory at once.
const BODY_LIMIT_BYTES = 64 * 1024 * 1024;
// At exit: the time limit for open requests, and then for closing the databases.
const GRACE_MS = 3000;
// Clients pause between requests, and reuse their connections afterwards (Node's default is 5 s).
const KEEP_ALIVE_MS = 120 * 1000;
// How many compiled view functions to keep; compiling one takes as long as a query.
const SANDBOXES = 100;

const DATABASE_NAME = /^[a-z][a-z0-9_$()+-]*$/;
const REVISION = /^[0-9]+-\S+$/;

class ConfigError extends Error {}

// Print what PouchDB logs as one line on standard error, without documents, which are private. Standard output is for
// the line of JSON only.
function complain(...parts) {
  const texts = parts.map((part) => (part instanceof Error ? part.message : part));
  const text = texts.filter((part) => typeof part === 'string').join(' ');
  process.stderr.write(`${text.split('\n', 1)[0]}\n`);
}
Object.assign(console, {log: complain, info: complain, warn: complain, error: complain});
process.on('uncaughtException', (error) => {
  complain(error);
  process.exit(1);
});

// Only the owner may read the databases.
process.umask(0o077);

/* ---- replies ---- */

function refuse(res, status, error, reason) {
  res.status(status).json({error, reason});
}

/* ---- authentication and authorization ---- */

// Hash name and password together, so that every comparison takes the same time.
function digest(credentials) {
  return crypto.createHash('sha256').update(credentials).digest();
}

function readAccounts(config) {
  const given = (config.users ?? []).map((user) => ({...user, roles: []}));
  if (config.admin) {
    given.push({...config.admin, roles: ['_admin']});
  }
  return given.map(({name, password, roles}) => {
    if (typeof name !== 'string' || !name || name.includes(':') || typeof password !== 'string' || !password) {
      throw new ConfigError('a user needs a name without a colon, and a password');
    }
    return {name, roles, digest: digest(`${name}:${password}`)};
  });
}

// HTTP Basic, as in CouchDB with require_valid_user: wrong credentials are rejected everywhere; missing ones are
// accepted only for the two requests that check whether the server is up.
function authenticate(accounts, adminParty) {
  return (req, res, next) => {
    const basic = /^Basic +(\S+)$/i.exec(req.headers.authorization ?? '');
    let known = null;
    if (basic) {
      const given = digest(Buffer.from(basic[1], 'base64'));
      for (const account of accounts) {
        if (crypto.timingSafeEqual(account.digest, given)) {
          known = account;
        }
      }
    }
    if (basic && !known) {
      return refuse(res, 401, 'unauthorized', 'Name or password is incorrect.');
    }
    if (!known && !adminParty && req.path !== '/' && req.path !== '/_up') {
      return refuse(res, 401, 'unauthorized', 'Authentication required.');
    }
    req.user = known ?? {name: null, roles: adminParty ? ['_admin'] : []};
    next();
  };
}

function session(req, res) {
  const info = {authentication_handlers: ['default']};
  if (req.user.name) {
    info.authenticated = 'default';
  }
  res.json({ok: true, userCtx: {name: req.user.name, roles: req.user.roles}, info});
}

// Only admins have access to databases, as with new databases in CouchDB 3.
function authorize(exists) {
  return async (req, res, next) => {
    const [, database, inside] = req.path.split('/');
    if (req.user.roles.includes('_admin') || req.path === '/') {
      return next();
    }
    if (database.startsWith('_') || (!inside && ['PUT', 'DELETE'].includes(req.method))) {
      return refuse(res, 401, 'unauthorized', 'You are not a server admin.');
    }
    if (!(await exists(database))) {
      return refuse(res, 404, 'not_found', 'Database does not exist.');
    }
    refuse(res, 403, 'forbidden', 'You are not allowed to access this db.');
  };
}

/* ---- repairs where express-pouchdb differs from CouchDB in ways that mislead clients ---- */

// Requests for databases. express-pouchdb answers 201 to both of two simultaneous PUTs, creates a missing database
// in order to delete it, and changes names silently ("a/b" and "ab" are the same database).
function databases(exists) {
  let turn = Promise.resolve();
  return async (req, res, next) => {
    const name = req.params.db;
    if (req.path === '/' && ['PUT', 'DELETE'].includes(req.method)) {
      const before = turn;
      turn = new Promise((done) => res.once('close', done));
      await before;
    } else if (name.startsWith('_')) {
      return next();
    }
    const creating = req.path === '/' && req.method === 'PUT';
    if (creating && !DATABASE_NAME.test(name)) {
      const rule = 'Only lowercase characters (a-z), digits (0-9), and any of the characters _, $, (, ), +, and - ' +
        'are allowed. Must begin with a letter.';
      return refuse(res, 400, 'illegal_database_name', `Name: '${name}'. ${rule}`);
    }
    const there = DATABASE_NAME.test(name) && (await exists(name));
    if (creating && there) {
      return refuse(res, 412, 'file_exists', 'The database could not be created, the file already exists.');
    }
    if (!creating && !there) {
      return refuse(res, 404, 'not_found', 'Database does not exist.');
    }
    next();
  };
}

// Bodies. express-pouchdb treats a body without the right Content-Type as empty, and an array as an empty document,
// and stores both. Attachments are any bytes, and not checked.
function bodies() {
  const parse = express.json({limit: BODY_LIMIT_BYTES, type: () => true});
  return (req, res, next) => {
    const [, , first, second, third] = req.path.split('/');
    const attachment = ['_design', '_local'].includes(first) ? third : second;
    const multipart = req.is('multipart/*');
    if (req.method === 'POST' && !req.is('json') && !multipart) {
      return refuse(res, 415, 'bad_content_type', 'Content-Type must be application/json');
    }
    if (multipart || (req.method !== 'POST' && (req.method !== 'PUT' || attachment))) {
      return next();
    }
    // A proxy may forward the truncated body of a killed client as an empty one; express-pouchdb stores {}.
    const needsNone = !first ? req.method === 'PUT' : ['_compact', '_ensure_full_commit', '_view_cleanup'].includes(first);
    if (!needsNone && (req.headers['content-length'] ?? '0') === '0' && !req.headers['transfer-encoding']) {
      return refuse(res, 400, 'bad_request', 'Request body must be a JSON object');
    }
    parse(req, res, (error) => {
      if (error || Array.isArray(req.body)) {
        return error ? next(error) : refuse(res, 400, 'bad_request', 'Request body must be a JSON object');
      }
      next();
    });
  };
}

// Single documents. express-pouchdb deletes the current revision if the request names none.
function documents(req, res, next) {
  const [, , first, second, third] = req.path.split('/');
  const isDocument = first && (first === '_design' ? second && !third : !second && first !== '_local');
  const match = /^"?([^"]+)"?$/.exec(req.headers['if-match'] ?? '');
  if (isDocument && match && !req.query.rev) {
    req.query.rev = match[1];
  }
  if (isDocument && req.method === 'DELETE' && !req.query.rev) {
    return refuse(res, 409, 'conflict', 'Document update conflict.');
  }
  next();
}

// express-pouchdb crashes on a value that is not a list of revisions.
function checkRevsDiff(req, res, next) {
  const lists = Object.values(req.body);
  if (!lists.every((list) => Array.isArray(list) && list.every((rev) => REVISION.test(rev)))) {
    return refuse(res, 400, 'bad_request', 'Invalid rev format');
  }
  next();
}

// express-pouchdb never answers an empty list, and crashes on a value that is not a list.
function checkBulkGet(req, res, next) {
  if (!Array.isArray(req.body.docs)) {
    return refuse(res, 400, 'bad_request', "Missing JSON list of 'docs'.");
  }
  next();
}

// Repair the methods of a database, before express-pouchdb calls them.
function repair(name, db, next) {
  const {bulkDocs, query, viewCleanup} = db;

  // An invalid document (with an unknown member that starts with "_") gets 400. PouchDB answers 500, which clients
  // retry.
  db.bulkDocs = (...args) => {
    const callback = args.pop();
    if (typeof callback !== 'function') {
      return bulkDocs.call(db, ...args, callback);
    }
    return bulkDocs.call(db, ...args, (error, result) => {
      if (error?.name === 'doc_validation') {
        error.status = 400;
      }
      callback(error, result);
    });
  };

  // One result per request, in order; without a revision, every leaf, including deleted ones; errors that say what is
  // missing. PouchDB gives one result per document, the winning leaf, and {} for an error.
  db.bulkGet = ({docs, revs, latest}, callback) => {
    const one = async (wanted) => {
      const {id = null, rev} = wanted ?? {};
      // express-pouchdb makes {"error": name, "reason": message} of it.
      const failed = (error, reason) => ({error, name: {id, rev: rev ?? 'undefined', error, reason}});
      try {
        const found = await db.get(id, {open_revs: rev === undefined ? 'all' : [rev], revs, latest});
        return {id, docs: found.map((leaf) => (leaf.ok ? leaf : failed('not_found', 'missing')))};
      } catch (error) {
        return {id, docs: [failed(error.name, error.message)]};
      }
    };
    Promise.all(docs.map(one)).then((results) => callback(null, {results}), callback);
  };

  // A missing linked document is null; PouchDB omits the member.
  db.query = (view, options, callback) => {
    query.call(db, view, options).then((result) => {
      if (options.include_docs) {
        for (const row of result.rows) {
          row.doc ??= null;
        }
      }
      return result;
    }).then((result) => callback(null, result), callback);
  };

  // PouchDB's method takes no options; if there are some, it never calls back.
  db.viewCleanup = (options, callback) => {
    viewCleanup.call(db).then((result) => callback(null, result), callback);
  };
  return next();
}

/* ---- views ---- */

function failure(status, name, message) {
  return Object.assign(new Error(message), {status, name});
}

// Compiled view functions by source.
const sandboxes = new Map();

// Return a view's function as one that takes any arguments and returns {result, emitted}. It runs in a separate
// context; only JSON goes in and out. PouchDB creates a context for every document, which makes building a view ten
// times slower, and takes gigabytes of memory.
function inSandbox(source) {
  if (!sandboxes.has(source)) {
    if (sandboxes.size >= SANDBOXES) {
      sandboxes.clear();
    }
    sandboxes.set(source, makeSandbox(source));
  }
  return sandboxes.get(source);
}

function makeSandbox(source) {
  const code = `(() => {
    'use strict';
    let emitted = [];
    const emit = (key, value) => { emitted.push([key, value]); };
    const sum = (values) => values.reduce((total, value) => total + value, 0);
    const log = () => {};
    const {isArray} = Array;
    const toJSON = JSON.stringify;
    const run = (${source.replace(/;\s*$/, '')});
    return (args) => {
      emitted = [];
      const result = run(...JSON.parse(args));
      return JSON.stringify({result, emitted});
    };
  })()`;
  let run;
  try {
    run = vm.runInContext(code, vm.createContext(Object.create(null)));
  } catch (error) {
    throw failure(400, 'compilation_error', error.message);
  }
  return (...args) => JSON.parse(run(JSON.stringify(args)));
}

function mapper(source, emit) {
  const map = inSandbox(source);
  return (doc) => map(doc).emitted.forEach(([key, value]) => emit(key, value));
}

// The built-in reduce functions that take one line.
function reducer(source) {
  const builtIn = {_count: '(keys, values) => values.length', _sum: '(keys, values) => sum(values)'};
  const reduce = inSandbox(builtIn[source.trim()] ?? source);
  return (...args) => reduce(...args).result;
}

function checkView(design, name) {
  if (typeof design.views[name].map !== 'string') {
    throw failure(404, 'not_found', 'missing_named_view');
  }
}

// PouchDB itself keeps its list of a database's indexes under "mrviews", too.
PouchDB.plugin(createMapReduce('mrviews', mapper, reducer, checkView));

/* ---- the server ---- */

function checkConfig(config) {
  const {host = '127.0.0.1', port = 0, data = null, admin = null} = config;
  if (typeof host !== 'string' || !host || !Number.isInteger(port) || port < 0 || port > 65535) {
    throw new ConfigError('host must be a name or an address, and port a number from 0 to 65535');
  }
  if (data !== null && (typeof data !== 'string' || !path.isAbsolute(data))) {
    throw new ConfigError('data must be the absolute path of a folder, or null');
  }
  if (!admin && !['127.0.0.1', '::1', 'localhost'].includes(host)) {
    throw new ConfigError(`without an admin the server is for this machine only, not for ${host}`);
  }
  return {host, port, data, accounts: readAccounts(config), adminParty: !admin};
}

// mkdirSync with `recursive` never returns if the folder can't be created, for example in /proc.
function makeFolder(folder) {
  if (!fs.existsSync(folder)) {
    makeFolder(path.dirname(folder));
    fs.mkdirSync(folder);
  }
}

function prepareData(data) {
  try {
    makeFolder(data);
    fs.accessSync(data, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
  } catch (error) {
    throw new ConfigError(`the data folder ${data} can't be written to (${error.code})`);
  }
}

async function openDatabases(data) {
  const options = {};
  if (data === null) {
    PouchDB.plugin(require('pouchdb-adapter-memory'));
    options.adapter = 'memory';
  } else {
    prepareData(data);
    options.prefix = data + path.sep;
  }
  const Databases = PouchDB.defaults(options);
  // Temporary views run any code that a client sends; CouchDB no longer has them.
  const app = pouchServer({mode: 'minimumForPouchDB', overrideMode: {exclude: ['routes/temp-views']}});
  app.dbWrapper.registerWrapper(repair);
  await app.setPouchDB(Databases);
  try {
    // Opening the list of databases locks the folder.
    await Databases.allDbs();
  } catch (error) {
    const locked = /unavailable|already held|another process/i.test(error.message);
    const why = locked ? 'another process uses it' : error.message;
    throw new ConfigError(`the data folder ${data} can't be opened: ${why}`);
  }
  return {app, exists: async (name) => (await Databases.allDbs()).includes(name)};
}

function makeApp({accounts, adminParty}, {app: pouch, exists}) {
  const app = express();
  app.disable('x-powered-by');
  app.enable('case sensitive routing');
  app.use(authenticate(accounts, adminParty));
  app.get('/_up', (req, res) => res.json({status: 'ok'}));
  app.get('/_session', session);
  app.use(authorize(exists));
  app.use('/:db', databases(exists));
  app.use(bodies());
  app.use(documents);
  app.post('/:db/_revs_diff', checkRevsDiff);
  app.post('/:db/_bulk_get', checkBulkGet);
  app.use(pouch);
  // Express recognizes an error handler by its four parameters.
  // eslint-disable-next-line no-unused-vars
  app.use((error, req, res, next) => {
    if (error.type === 'entity.parse.failed') {
      return refuse(res, 400, 'bad_request', 'invalid UTF-8 JSON');
    }
    if (error.type === 'entity.too.large') {
      return refuse(res, 413, 'too_large', 'the request entity is too large');
    }
    const status = error.status ?? 500;
    if (status >= 500) {
      console.error(error);
    }
    refuse(res, status, status < 500 ? 'bad_request' : 'unknown_error', error.message);
  });
  return app;
}

function listen(app, {host, port}) {
  const server = http.createServer({keepAliveTimeout: KEEP_ALIVE_MS}, app);
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      const why = {EADDRINUSE: 'it is in use', EACCES: 'permission denied'}[error.code] ?? error.message;
      reject(new ConfigError(`port ${port} of ${host} can't be opened: ${why}`));
    });
    server.listen(port, host, () => resolve(server));
  });
}

function address(server, host) {
  return `http://${host.includes(':') ? `[${host}]` : host}:${server.address().port}`;
}

function within(promise) {
  return Promise.race([promise, new Promise((done) => setTimeout(done, GRACE_MS))]);
}

async function main() {
  const open = new Set();
  let server = null;
  let ending = false;

  const end = async () => {
    if (ending) {
      return;
    }
    ending = true;
    if (server) {
      const closed = new Promise((done) => server.close(done));
      server.closeIdleConnections();
      await within(closed);
      await within(Promise.allSettled([...open].map((db) => db.close())));
    }
    process.exit(0);
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);

  const input = readline.createInterface({input: process.stdin});
  const line = await new Promise((resolve) => input.once('line', resolve).once('close', () => resolve(null)));
  if (line === null) {
    throw new ConfigError('standard input ended before the configuration');
  }
  input.once('close', end);

  let config;
  try {
    config = checkConfig(JSON.parse(line));
  } catch (error) {
    // The message of JSON.parse quotes the input, which contains a password.
    throw error instanceof SyntaxError ? new ConfigError('the configuration is not JSON') : error;
  }
  // PouchDB itself opens a database for each view, and announces it with these events.
  PouchDB.on('ref', (db) => open.add(db));
  PouchDB.on('unref', (db) => open.delete(db));
  const app = makeApp(config, await openDatabases(config.data));
  server = await listen(app, config);
  process.stdout.write(`${JSON.stringify({url: address(server, config.host)})}\n`);
}

main().catch((error) => {
  if (!(error instanceof ConfigError)) {
    console.error(error);
  }
  process.stdout.write(`${JSON.stringify({error: error.message})}\n`, () => process.exit(1));
});
