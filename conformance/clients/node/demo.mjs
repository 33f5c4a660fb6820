// kafkajs against a broker: lists the topics, writes one record with headers, reads a whole topic in a group of two
// members, commits, and comes back to find nothing left. Prints one JSON object. Usage: node demo.mjs ADDRESS TOPIC COUNT
import { Kafka, logLevel } from 'kafkajs'

const [address, topic, count] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'conformance', brokers: [address], logLevel: logLevel.NOTHING })
const groupId = 'kafkajs-readers'

const admin = kafka.admin()
await admin.connect()
const topics = await admin.listTopics()

const producer = kafka.producer({ idempotent: true })
await producer.connect()
const note = { key: 'order/536365', value: JSON.stringify({ note: 'from kafkajs' }), headers: { origin: 'kafkajs', empty: '', bytes: Buffer.from([0, 1, 255]) } }
const [written] = await producer.send({ topic, acks: -1, messages: [note] })
await producer.disconnect()

const total = Number(count) + 1
const seen = []
let all
const everything = new Promise((resolve) => { all = resolve })
const consumers = []
for (let i = 0; i < 2; i++) {
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 500 })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      seen.push({ partition, offset: message.offset, key: message.key?.toString(), value: message.value?.toString(), headers: message.headers })
      if (new Set(seen.map((m) => `${m.partition}/${m.offset}`)).size === total) all()
    },
  })
  consumers.push(consumer)
}
await everything
for (const consumer of consumers) await consumer.disconnect()

// What is committed is the end of the topic: a reader that comes back has nothing to do.
const ends = await admin.fetchTopicOffsets(topic)
const committed = (await admin.fetchOffsets({ groupId, topics: [topic] }))[0].partitions
const left = ends.reduce((sum, end) => {
  const at = Number(committed.find((c) => c.partition === end.partition)?.offset ?? 0)
  return sum + Number(end.high) - Math.max(at, 0)
}, 0)
await admin.disconnect()

const mine = seen.find((m) => m.partition === written.partition && m.offset === written.baseOffset)
const first = seen.find((m) => m.headers.ce_type?.toString() === 'shop.order.placed')
console.log(JSON.stringify({
  topics,
  records: new Set(seen.map((m) => `${m.partition}/${m.offset}`)).size,
  left,
  mine: mine && { key: mine.key, value: mine.value, origin: mine.headers.origin.toString(), empty: mine.headers.empty.toString(), bytes: [...mine.headers.bytes] },
  placed: first && Object.fromEntries(Object.entries(first.headers).map(([name, value]) => [name, value.toString()])),
}))
