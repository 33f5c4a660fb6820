// Tries @platformatic/kafka on a broker.
import { AclOperations, AclPermissionTypes, Admin, ConfigResourceTypes, Consumer, IncrementalAlterConfigOperationTypes, Producer, ResourcePatternTypes, ResourceTypes } from '@platformatic/kafka'
import { main, Queue, Unsupported } from './suite.mjs'

const options = (address) => ({ clientId: 'conformance', bootstrapBrokers: [address], metadataMaxAge: 1000 })

/** Returns a record as the client has it. Names of headers are Buffers, which a Map takes twice. */
const message = (topic, { key, value, headers, timestamp }) => ({
  topic, partition: 0, key, value,
  headers: new Map(headers.map(([name, value]) => [Buffer.from(name), value])),
  ...(timestamp && { timestamp: BigInt(timestamp) }),
})

const record = ({ topic, key, value, headerEntries, offset }) => ({
  topic, key: key ?? null, value: value ?? null, offset: Number(offset),
  headers: headerEntries.map(([name, value]) => [name.toString(), value ?? null]),
})

async function open(address) {
  const admin = new Admin(options(address))
  const resource = (resourceName) => ({ resourceType: ConfigResourceTypes.TOPIC, resourceName })
  const alice = (topic) => ({
    resourceType: ResourceTypes.TOPIC, resourceName: topic, resourcePatternType: ResourcePatternTypes.LITERAL,
    principal: 'User:alice', host: '*', operation: AclOperations.READ, permissionType: AclPermissionTypes.ALLOW,
  })
  const filter = (topic) => {
    const { resourcePatternType, ...rest } = alice(topic)
    return { ...rest, resourcePatternType, resourcePatternTypeFilter: resourcePatternType }
  }
  let readers = 0
  let transactional // one producer for all: a second one of the same id is fenced
  return {
    async close() {
      await transactional?.close()
      await admin.close()
    },
    async topics() {
      const { topics } = await admin.metadata({ topics: await admin.listTopics(), forceUpdate: true })
      return new Map([...topics].map(([name, { partitionsCount }]) => [name, partitionsCount]))
    },
    createTopic: (topic, partitions) => admin.createTopics({ topics: [topic], partitions, replicas: 1 }),
    grow: (name, count) => admin.createPartitions({ topics: [{ name, count, assignments: null }] }),
    deleteTopic: (topic) => admin.deleteTopics({ topics: [topic] }),
    setConfig: (topic, name, value) => admin.incrementalAlterConfigs({
      resources: [{ ...resource(topic), configs: [{ name, value, configOperation: IncrementalAlterConfigOperationTypes.SET }] }],
    }),
    async config(topic, name) {
      const [{ configs }] = await admin.describeConfigs({ resources: [{ ...resource(topic), configurationKeys: [name] }] })
      return configs.find((c) => c.name === name).value
    },
    deleteRecords: (name, before) => admin.deleteRecords({ topics: [{ name, partitions: [{ partition: 0, offset: BigInt(before) }] }] }),
    groups: async () => [...(await admin.listGroups()).keys()],
    groupState: async (group) => (await admin.describeGroups({ groups: [group] })).get(group).state,
    deleteGroup: (group) => admin.deleteGroups({ groups: [group] }),
    async committed(group, name) {
      const [{ topics }] = await admin.listConsumerGroupOffsets({ groups: [{ groupId: group, topics: [{ name, partitionIndexes: [0] }] }] })
      return Number(topics[0].partitions[0].committedOffset)
    },
    createAcl: (topic) => admin.createAcls({ creations: [alice(topic)] }),
    acls: async (topic) => (await admin.describeAcls({ filter: filter(topic) })).flatMap((r) => r.acls).length,
    deleteAcls: (topic) => admin.deleteAcls({ filters: [filter(topic)] }),
    async write(topic, records, { codec = 'none', idempotent = false }) {
      const producer = new Producer({ ...options(address), compression: codec, idempotent })
      try {
        await producer.send({ messages: records.map((r) => message(topic, r)), acks: -1 })
      } finally {
        await producer.close()
      }
    },
    async transaction(topic, transactionalId, commit, record) {
      transactional ??= new Producer({ ...options(address), idempotent: true, transactionalId })
      const transaction = await transactional.beginTransaction()
      await transaction.send({ messages: [message(topic, record)] })
      await (commit ? transaction.commit() : transaction.abort())
    },
    async open({ topic, pattern, group, from, committed }) {
      if (pattern) throw new Unsupported('topics have names')
      const groupId = group ?? `${topic}-reader-${readers++}` // there are no consumers without a group
      const consumer = new Consumer({ ...options(address), groupId, autocommit: false, isolationLevel: committed ? 1 : 0, maxWaitTime: 500 })
      let start = { mode: 'committed', fallbackMode: 'earliest' }
      if (from) {
        const offsets = await consumer.listOffsets({ topics: [topic], timestamp: BigInt(from) })
        start = { mode: 'manual', offsets: [{ topic, partition: 0, offset: offsets.get(topic)[0] }] }
      }
      const stream = await consumer.consume({ topics: [topic], ...start })
      const queue = new Queue()
      stream.on('data', (message) => queue.push(message))
      let last
      return {
        async read(n) {
          const messages = await queue.take(n)
          last = messages.at(-1)
          return messages.map(record)
        },
        commit: () => last.commit(),
        close: () => consumer.close(true),
      }
    },
  }
}

async function member(m) {
  const protocol = m.consumerProtocol ? { groupProtocol: 'consumer' } : { sessionTimeout: 6000, rebalanceTimeout: 6000, heartbeatInterval: 500 }
  const consumer = new Consumer({ ...options(m.address), groupId: m.group, groupInstanceId: m.instance, ...protocol, maxWaitTime: 500 })
  const tell = () => m.assigned(consumer.assignments?.find((a) => a.topic === m.topic)?.partitions ?? [])
  consumer.on('consumer:group:rebalance', () => m.assigned([]))
  consumer.on('consumer:group:join', tell)
  consumer.on('consumer:heartbeat:end', tell) // where the group's coordinator assigns
  const stream = await consumer.consume({ topics: [m.topic], mode: 'committed', fallbackMode: 'earliest', autocommit: 100 })
  tell()
  stream.on('data', ({ partition, offset }) => m.read(partition, offset))
  await m.stop
  await consumer.close(true)
}

await main('@platformatic/kafka', open, member)
