// What the programs of the Node.js clients share: the cases, the command line, and the lines of JSON that TestClients
// reads. Package suite of the Go clients documents the command line; the cases are the same.
import { once } from 'node:events'
import assert from 'node:assert/strict'
import manifest from './package.json' with { type: 'json' }

const limit = 60_000 // milliseconds that a case may take

/** Thrown where a client has nothing for a case. */
export class Unsupported extends Error {}

// A client is an object with the methods that the cases call. A record is { key, value, headers: [[name, value]],
// timestamp, offset, topic }, where null is null, values are Buffers and offset a number; all are written to partition 0.
// A reader is what open({ topic, group, from, committed }) resolves to, with read(n), commit() and close().

const numbered = (n) => Array.from({ length: n }, (_, i) => ({ key: Buffer.from(`${i}`), value: Buffer.from(`${i}`.padEnd(100)), headers: [] }))

/** Waits until holds() resolves to true: Apache Kafka's answers may be of a moment ago. */
async function until(holds) {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 100))
}

async function read(client, source, n) {
  const reader = await client.open(source)
  try {
    return await reader.read(n)
  } finally {
    await reader.close()
  }
}

/** Makes the topic, writes records and reads them. */
async function comeBack(client, topic, records, how = {}) {
  await client.createTopic(topic, 1)
  await client.write(topic, records, how)
  const got = await read(client, { topic }, records.length)
  assert.deepEqual(got.map(({ key, value, headers }) => ({ key, value, headers })), records)
}

async function startsAt(client, source, offset) {
  const [first] = await read(client, source, 1)
  assert.equal(first.offset, offset)
}

/** Reads one record in a group, so that there is one. */
async function readInGroup(client, topic) {
  await comeBack(client, topic, numbered(1))
  const reader = await client.open({ topic, group: topic })
  await reader.read(1)
  await reader.commit()
  await reader.close()
}

const value = Buffer.from('value')

const cases = {
  async 'list-topics'(client, topic) {
    await client.createTopic(topic, 3)
    await until(async () => (await client.topics()).get(topic) === 3)
  },
  async nulls(client, topic) {
    await comeBack(client, topic, [{ key: null, value, headers: [] }, { key: Buffer.from('key'), value: null, headers: [] }, { key: Buffer.alloc(0), value: Buffer.alloc(0), headers: [] }])
  },
  async headers(client, topic) {
    const headers = [['twice', Buffer.from('1')], ['twice', Buffer.from('2')], ['bytes', Buffer.from([0xff, 0xfe, 0])]]
    await comeBack(client, topic, [{ key: null, value, headers }])
  },
  async 'null-header'(client, topic) {
    await comeBack(client, topic, [{ key: null, value, headers: [['null', null], ['empty', Buffer.alloc(0)]] }])
  },
  async 'commit-resume'(client, topic) {
    await comeBack(client, topic, numbered(20))
    const reader = await client.open({ topic, group: topic })
    await reader.read(10)
    await reader.commit()
    await reader.close()
    assert.equal(await client.committed(topic, topic), 10)
    await startsAt(client, { topic, group: topic }, 10)
  },
  async 'seek-by-time'(client, topic) {
    const began = Math.floor(Date.now() / 1000) * 1000 - 3_600_000
    await client.createTopic(topic, 1)
    await client.write(topic, numbered(20).map((record, i) => ({ ...record, timestamp: began + 1000 * i })), {})
    await startsAt(client, { topic, from: began + 9500 }, 10)
  },
  async pattern(client, topic) {
    const reader = await client.open({ pattern: new RegExp(`^${topic}-.*`), group: topic })
    for (const name of [`${topic}-before`, `${topic}-after`]) { // the second is made while the group reads
      await client.createTopic(name, 1)
      await client.write(name, numbered(1), {})
      assert.equal((await reader.read(1))[0].topic, name)
      await reader.commit()
    }
    await reader.close()
  },
  async 'admin-topics'(client, topic) {
    await client.createTopic(topic, 1)
    await client.grow(topic, 4)
    await until(async () => (await client.topics()).get(topic) === 4)
    await client.deleteTopic(topic)
    await until(async () => !(await client.topics()).has(topic))
  },
  async 'admin-configs'(client, topic) {
    await client.createTopic(topic, 1)
    await client.setConfig(topic, 'retention.ms', '123456789')
    await until(async () => (await client.config(topic, 'retention.ms')) === '123456789')
  },
  async 'admin-groups'(client, topic) {
    await readInGroup(client, topic)
    assert.ok((await client.groups()).includes(topic))
    await until(async () => (await client.groupState(topic)).toUpperCase() === 'EMPTY')
  },
  async 'delete-group'(client, topic) {
    await readInGroup(client, topic)
    await client.deleteGroup(topic)
    await until(async () => !(await client.groups()).includes(topic))
  },
  async 'delete-records'(client, topic) {
    await comeBack(client, topic, numbered(10))
    await client.deleteRecords(topic, 7)
    await startsAt(client, { topic }, 7)
  },
  async idempotent(client, topic) {
    await comeBack(client, topic, numbered(100), { idempotent: true })
  },
  async transactions(client, topic) {
    await client.createTopic(topic, 1)
    const [aborted, committed] = numbered(2)
    await client.transaction(topic, topic, false, aborted)
    await client.transaction(topic, topic, true, committed)
    const [first] = await read(client, { topic, committed: true }, 1)
    assert.deepEqual(first.key, committed.key)
  },
  async acls(client, topic) {
    await client.createTopic(topic, 1)
    await client.createAcl(topic)
    await until(async () => (await client.acls(topic)) === 1)
    await client.deleteAcls(topic)
    await until(async () => (await client.acls(topic)) === 0)
  },
}
for (const codec of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
  cases[`codec-${codec}`] = (client, topic) => comeBack(client, topic, numbered(100), { codec })
}

/** Collects what a client pushes, and hands it out n at a time. */
export class Queue {
  #records = []
  #arrived = () => {}

  push(record) {
    this.#records.push(record)
    this.#arrived()
  }

  async take(n) {
    while (this.#records.length < n) await new Promise((resolve) => { this.#arrived = resolve })
    return this.#records.splice(0, n)
  }
}

const emit = (line) => console.log(JSON.stringify(line))

/** Runs one case and prints how it ended. One that does not end in time is left alone. */
async function run(open, name, address, topic) {
  const late = new Promise((_, reject) => { setTimeout(() => reject(new Error(`no end after ${limit} ms`)), limit).unref() })
  let failed
  try {
    const client = await open(address)
    await Promise.race([cases[name](client, topic), late])
    await client.close()
  } catch (error) {
    failed = error
  }
  const causes = (failed?.errors ?? failed?.partitions?.map((p) => p.error) ?? []).map((e) => e.message)
  emit({ case: name, ok: !failed, lacks: failed instanceof Unsupported, detail: failed ? [failed.message, ...causes].join('; ') : '' })
}

/**
 * Runs the program of the client that package.json has as name. open(address) resolves to a client. member reads in a group until stop, a Promise, resolves, and
 * tells what it has with assigned(partitions) and read(partition, offset).
 */
export async function main(name, open, member) {
  const [mode, address, ...args] = process.argv.slice(2)
  if (mode === 'cases' && args.length >= 1) {
    emit({ version: manifest.dependencies[name] })
    const [prefix, ...chosen] = args
    for (const c of chosen.length ? chosen : Object.keys(cases)) await run(open, c, address, `${prefix}-${c}`)
    process.exit(0)
  }
  if (mode === 'member' && args.length === 4) {
    const [topic, group, protocol, instance] = args
    await member({
      address, topic, group, consumerProtocol: protocol === 'consumer', instance: instance === '-' ? undefined : instance,
      stop: once(process, 'SIGTERM'),
      assigned: (partitions) => emit({ assigned: partitions }),
      read: (partition, offset) => emit({ read: [partition, Number(offset)] }),
    })
    process.exit(0)
  }
  console.error('usage: cases ADDRESS PREFIX [CASE...] | member ADDRESS TOPIC GROUP PROTOCOL INSTANCE')
  process.exit(2)
}
