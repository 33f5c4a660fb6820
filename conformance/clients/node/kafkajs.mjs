// Tries kafkajs on a broker. It compresses with gzip; the other codecs are ones that its users give it.
import zlib from 'node:zlib'
import { lz4Compress, lz4Decompress, snappyCompress, snappyDecompress } from '@platformatic/wasm-utils'
import kafkajs from 'kafkajs'
import { main, Queue, Unsupported } from './suite.mjs'

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel, ResourcePatternTypes } = kafkajs

const codec = (compress, decompress) => () => ({ compress: async (encoder) => compress(encoder.buffer), decompress: async (buffer) => decompress(buffer) })
CompressionCodecs[CompressionTypes.Snappy] = codec(snappyCompress, snappyDecompress)
CompressionCodecs[CompressionTypes.LZ4] = codec(lz4Compress, lz4Decompress)
CompressionCodecs[CompressionTypes.ZSTD] = codec(zlib.zstdCompressSync, zlib.zstdDecompressSync)

const codecs = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD }

const cluster = (address) => new Kafka({ clientId: 'conformance', brokers: [address], logLevel: logLevel.NOTHING })

/** Returns a record as kafkajs has it, whose headers are an object with lists for names that are there twice. */
function message({ key, value, headers, timestamp }) {
  const named = {}
  for (const [name, value] of headers) {
    if (value === null) throw new Unsupported('headers have values')
    named[name] = name in named ? [named[name], value].flat() : value
  }
  return { key, value, headers: named, partition: 0, ...(timestamp && { timestamp: String(timestamp) }) }
}

const record = (topic, { key, value, headers, offset }) => ({
  topic, key, value, offset: Number(offset),
  headers: Object.entries(headers).flatMap(([name, values]) => [values].flat().map((value) => [name, value])),
})

async function connected(client) {
  await client.connect()
  return client
}

async function open(address) {
  const kafka = cluster(address)
  const admin = await connected(kafka.admin())
  const alice = (topic) => ({
    resourceType: AclResourceTypes.TOPIC, resourceName: topic, resourcePatternType: ResourcePatternTypes.LITERAL,
    principal: 'User:alice', host: '*', operation: AclOperationTypes.READ, permissionType: AclPermissionTypes.ALLOW,
  })
  let readers = 0
  return {
    close: () => admin.disconnect(),
    topics: async () => new Map((await admin.fetchTopicMetadata()).topics.map((t) => [t.name, t.partitions.length])),
    createTopic: (topic, numPartitions) => admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }], waitForLeaders: true }),
    grow: (topic, count) => admin.createPartitions({ topicPartitions: [{ topic, count }] }),
    deleteTopic: (topic) => admin.deleteTopics({ topics: [topic] }),
    setConfig: (name, config, value) => admin.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name, configEntries: [{ name: config, value }] }] }),
    async config(name, config) {
      const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: ConfigResourceTypes.TOPIC, name, configNames: [config] }] })
      return resources[0].configEntries[0].configValue
    },
    async deleteRecords(topic, before) {
      await admin.fetchTopicOffsets(topic) // else the client does not know the leader
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(before) }] })
    },
    groups: async () => (await admin.listGroups()).groups.map((g) => g.groupId),
    groupState: async (group) => (await admin.describeGroups([group])).groups[0].state,
    deleteGroup: (group) => admin.deleteGroups([group]),
    committed: async (groupId, topic) => Number((await admin.fetchOffsets({ groupId, topics: [topic] }))[0].partitions[0].offset),
    createAcl: (topic) => admin.createAcls({ acl: [alice(topic)] }),
    acls: async (topic) => (await admin.describeAcls(alice(topic))).resources.flatMap((r) => r.acls).length,
    deleteAcls: (topic) => admin.deleteAcls({ filters: [alice(topic)] }),
    async write(topic, records, { codec = 'none', idempotent = false }) {
      const producer = await connected(kafka.producer({ idempotent }))
      try {
        await producer.send({ topic, compression: codecs[codec], messages: records.map(message) })
      } finally {
        await producer.disconnect()
      }
    },
    async transaction(topic, transactionalId, commit, record) {
      const producer = await connected(kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1, retry: { retries: 2 } }))
      try {
        const transaction = await producer.transaction()
        await transaction.send({ topic, messages: [message(record)] })
        await (commit ? transaction.commit() : transaction.abort())
      } finally {
        await producer.disconnect()
      }
    },
    async open({ topic, pattern, group, from, committed }) {
      if (pattern) throw new Unsupported('a pattern is of the topics that are there when the consumer subscribes')
      const groupId = group ?? `${topic}-reader-${readers++}` // there are no consumers without a group
      const consumer = await connected(kafka.consumer({ groupId, readUncommitted: !committed, maxWaitTimeInMs: 500 }))
      await consumer.subscribe({ topics: [topic], fromBeginning: true })
      if (from) await admin.setOffsets({ groupId, topic, partitions: await admin.fetchTopicOffsetsByTimestamp(topic, from) })
      const queue = new Queue()
      let last
      await consumer.run({ autoCommit: false, eachMessage: async ({ topic, message }) => queue.push(record(topic, message)) })
      return {
        async read(n) {
          const records = await queue.take(n)
          last = records.at(-1)
          return records
        },
        commit: () => consumer.commitOffsets([{ topic: last.topic, partition: 0, offset: String(last.offset + 1) }]),
        close: () => consumer.disconnect(),
      }
    },
  }
}

async function member(m) {
  const consumer = cluster(m.address).consumer({ groupId: m.group, sessionTimeout: 6000, heartbeatInterval: 500, maxWaitTimeInMs: 500 })
  consumer.on(consumer.events.REBALANCING, () => m.assigned([]))
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => m.assigned(payload.memberAssignment[m.topic] ?? []))
  await consumer.connect()
  await consumer.subscribe({ topics: [m.topic], fromBeginning: true })
  await consumer.run({ eachMessage: async ({ partition, message }) => m.read(partition, message.offset) })
  await m.stop
  await consumer.disconnect()
}

await main('kafkajs', open, member)
