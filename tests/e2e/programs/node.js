// node: files, workers, child processes, HTTP, streams, signals, watching.
const fs = require('fs'), http = require('http'), cp = require('child_process'), zlib = require('zlib');
const { Worker, isMainThread, parentPort } = require('worker_threads');
const crypto = require('crypto'), dns = require('dns'), net = require('net'), os = require('os'), path = require('path');

if (!isMainThread) {
  parentPort.on('message', n => { parentPort.postMessage(n * n); parentPort.close(); });
} else {
  const event = (emitter, name) => new Promise(done => emitter.once(name, done));
  (async () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'node-')), file = path.join(dir, 'file');
    await fs.promises.writeFile(file, 'x'.repeat(1e6));
    console.log('file', (await fs.promises.readFile(file)).length);
    const workers = [1, 2, 3, 4].map(n => { const w = new Worker(__filename); w.postMessage(n); return event(w, 'message'); });
    console.log('workers', await Promise.all(workers));
    console.log('command', cp.execSync('echo $((6 * 7))').toString().trim());
    const cat = cp.spawn('cat');
    let out = '';
    cat.stdout.on('data', d => out += d);
    cat.stdin.end('y'.repeat(300000));
    console.log('spawn', await event(cat, 'close'), out.length);
    const sleeper = cp.spawn('sleep', ['100']);
    sleeper.kill('SIGTERM');
    await event(sleeper, 'exit');
    console.log('killed', sleeper.signalCode);
    const server = http.createServer((request, answer) => answer.end('path ' + request.url)).listen(0, '127.0.0.1');
    await event(server, 'listening');
    const base = `http://127.0.0.1:${server.address().port}/`;
    const answers = await Promise.all([...Array(20).keys()].map(i => fetch(base + i).then(r => r.text())));
    console.log('http', answers.length, answers[19]);
    server.closeAllConnections();
    server.close();
    const local = net.createServer(c => c.pipe(c)).listen(path.join(dir, 'socket'));
    await event(local, 'listening');
    const client = net.connect(path.join(dir, 'socket'));
    client.write('echoed');
    console.log('unix', String(await event(client, 'data')));
    client.destroy();
    local.close();
    console.log('gzip', zlib.gunzipSync(zlib.gzipSync('z'.repeat(1e5))).length);
    const key = await new Promise(done => crypto.pbkdf2('a', 'b', 1000, 16, 'sha256', (err, key) => done(key)));
    console.log('threads', key.toString('hex'));
    const watcher = fs.watch(dir), changed = event(watcher, 'change');
    fs.writeFileSync(path.join(dir, 'new'), '1');
    console.log('watch', await changed);
    watcher.close();
    const signalled = event(process, 'SIGUSR2');
    process.kill(process.pid, 'SIGUSR2');
    const alive = setTimeout(() => {}, 5000); // a handler alone does not keep it running
    await signalled;
    clearTimeout(alive);
    console.log('signal');
    console.log('lookup', (await dns.promises.lookup('localhost', { family: 4 })).address);
    fs.rmSync(dir, { recursive: true });
    process.exitCode = 6;
  })();
}
