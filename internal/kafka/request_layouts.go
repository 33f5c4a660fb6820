package kafka

// requestLayouts holds the layout of every request that kmsg decodes: the types of its fields, and the versions that
// have them. The layouts are taken from the message definitions of Apache Kafka 4.2
// (clients/src/main/resources/common/message). Produce, Fetch, ApiVersions and the SASL requests are decoded by hand
// and have no layout. TestRequestCheckAcceptsWhatClientsSend checks the layouts with random requests in every version,
// encoded by kmsg.
var requestLayouts = map[Key]*requestLayout{
	keyListOffsets: layoutOf(6,
		i32,          // replica
		since(2, i8), // isolation level
		structArray(str, structArray( // topics: name, partitions
			i32,           // partition
			since(4, i32), // leader epoch
			i64,           // timestamp
		)),
		since(10, i32), // timeout
	),
	keyMetadata: layoutOf(9,
		structArray(since(10, uuid), since(10, nstr), between(0, 9, str)),
		since(4, i8),       // allow auto-creation
		between(8, 10, i8), // cluster operations
		since(8, i8),       // topic operations
	),
	keyOffsetCommit: layoutOf(8,
		str, i32, str, since(7, nstr), // group, generation, member, instance
		between(2, 4, i64), // retention
		structArray(between(0, 9, str), since(10, uuid), structArray(
			i32, i64, // partition, offset
			since(6, i32), // leader epoch
			nstr,          // metadata
		)),
	),
	keyOffsetFetch: layoutOf(6,
		between(0, 7, str), // group
		between(0, 7, structArray(str, primitiveArray(i32))), // topics: name, partitions
		since(8, structArray(
			str, since(9, nstr), since(9, i32), // group, member, epoch
			structArray(between(8, 9, str), since(10, uuid), primitiveArray(i32)),
		)),
		since(7, i8), // require stable
	),
	keyFindCoordinator: layoutOf(3, between(0, 3, str), since(1, i8), since(4, primitiveArray(str))),
	keyJoinGroup: layoutOf(6,
		str, i32, since(1, i32), // group, session timeout, rebalance timeout
		str, since(5, nstr), str, // member, instance, protocol type
		structArray(str, byts), // protocols
		since(8, nstr),         // reason
	),
	keyHeartbeat: layoutOf(4, str, i32, str, since(3, nstr)),
	keyLeaveGroup: layoutOf(4,
		str, between(0, 2, str), // group, member
		since(3, structArray(str, nstr, since(5, nstr))), // members: id, instance, reason
	),
	keySyncGroup: layoutOf(4,
		str, i32, str, since(3, nstr), // group, generation, member, instance
		since(5, nstr), since(5, nstr), // protocol type and name
		structArray(str, byts), // assignments
	),
	keyDescribeGroups: layoutOf(5, primitiveArray(str), since(3, i8)),
	keyListGroups:     layoutOf(3, since(4, primitiveArray(str)), since(5, primitiveArray(str))),
	keyCreateTopics: layoutOf(5,
		structArray(str, i32, i16, // name, partitions, replication
			structArray(i32, primitiveArray(i32)), // assignments
			structArray(str, nstr)),               // configs
		i32, i8, // timeout, validate only
	),
	keyDeleteTopics: layoutOf(4,
		between(0, 5, primitiveArray(str)),
		since(6, structArray(nstr, uuid)),
		i32, // timeout
	),
	keyDeleteRecords:        layoutOf(2, structArray(str, structArray(i32, i64)), i32), // topics: name, partitions; timeout
	keyInitProducerID:       layoutOf(2, nstr, i32, since(3, i64), since(3, i16)),
	keyOffsetForLeaderEpoch: layoutOf(4, since(3, i32), structArray(str, structArray(i32, i32, i32))),
	keyAddPartitionsToTxn:   layoutOf(3, str, i64, i16, structArray(str, primitiveArray(i32))), // id, producer, topics
	keyAddOffsetsToTxn:      layoutOf(3, str, i64, i16, str),                                   // id, producer, group
	keyEndTxn:               layoutOf(3, str, i64, i16, i8),
	keyTxnOffsetCommit: layoutOf(3,
		str, str, i64, i16, // id, group, producer
		since(3, i32), since(3, str), since(3, nstr), // generation, member, instance
		structArray(str, structArray(
			i32, i64, // partition, offset
			since(2, i32), // leader epoch
			nstr,          // metadata
		)),
	),
	keyDescribeTransactions: layoutOf(0, primitiveArray(str)),
	keyListTransactions:     layoutOf(0, primitiveArray(str), primitiveArray(i64), since(1, i64), since(2, nstr)),
	keyDescribeConfigs:      layoutOf(4, structArray(i8, str, primitiveArray(str)), i8, since(3, i8)),
	keyAlterConfigs:         layoutOf(2, structArray(i8, str, structArray(str, nstr)), i8),
	keyCreatePartitions: layoutOf(2,
		structArray(str, i32, structArray(primitiveArray(i32))), // name, count, assignments
		i32, i8, // timeout, validate only
	),
	keyDeleteGroups:       layoutOf(2, primitiveArray(str)),
	keyIncrementalConfigs: layoutOf(1, structArray(i8, str, structArray(str, i8, nstr)), i8),
	keyOffsetDelete:       layoutOf(noVersion, str, structArray(str, structArray(i32))),
	keyDescribeCluster:    layoutOf(0, i8, since(1, i8), since(2, i8)),

	keyDescribeACLs:        layoutOf(2, i8, nstr, i8, nstr, nstr, i8, i8),
	keyCreateACLs:          layoutOf(2, structArray(i8, str, i8, str, str, i8, i8)),
	keyDeleteACLs:          layoutOf(2, structArray(i8, nstr, i8, nstr, nstr, i8, i8)),
	keyAlterReplicaLogDirs: layoutOf(2, structArray(str, structArray(str, primitiveArray(i32)))), // directories: topics
	keyDescribeLogDirs:     layoutOf(2, structArray(str, primitiveArray(i32))),
	keyElectLeaders:        layoutOf(2, since(1, i8), structArray(str, primitiveArray(i32)), i32), // kind, topics, timeout
	keyAlterPartitionAssignments: layoutOf(0,
		i32, since(1, i8), // timeout, allow another replication factor
		structArray(str, structArray(i32, primitiveArray(i32))), // topics: partitions and replicas
	),
	keyListPartitionReassignments: layoutOf(0, i32, structArray(str, primitiveArray(i32))),
	keyDescribeClientQuotas:       layoutOf(1, structArray(str, i8, nstr), i8),
	keyAlterClientQuotas: layoutOf(1,
		structArray(structArray(str, nstr), structArray(str, i64, i8)), // entries: entity, operations
		i8, // validate only
	),
	keyDescribeUserSCRAMCredentials: layoutOf(0, structArray(str)),
	keyAlterUserSCRAMCredentials:    layoutOf(0, structArray(str, i8), structArray(str, i8, i32, byts, byts)), // deletions, upsertions
	keyDescribeQuorum:               layoutOf(0, structArray(str, structArray(i32))),
	keyUpdateFeatures: layoutOf(0,
		i32, structArray(str, i16, i8), // timeout, updates
		since(1, i8), // validate only
	),
	keyDescribeProducers:       layoutOf(0, structArray(str, primitiveArray(i32))),
	keyUnregisterBroker:        layoutOf(0, i32),
	keyListConfigResources:     layoutOf(0, since(1, primitiveArray(i8))),
	keyDescribeTopicPartitions: layoutOf(0, structArray(str), i32, optionalStruct(str, i32)), // topics, limit, cursor
}

// layoutOf returns the layout of a request with these fields. flexible is the API's first version with compact lengths
// and tagged fields, or noVersion.
func layoutOf(flexible int16, fields ...layoutField) *requestLayout {
	return &requestLayout{layoutStruct: *newLayoutStruct(fields), flexible: flexible}
}
