package kafka

// Key is the number of an API of the Kafka protocol.
type Key int16

// The keys of the APIs that the broker serves.
const (
	keyProduce                      Key = 0
	keyFetch                        Key = 1
	keyListOffsets                  Key = 2
	keyMetadata                     Key = 3
	keyOffsetCommit                 Key = 8
	keyOffsetFetch                  Key = 9
	keyFindCoordinator              Key = 10
	keyJoinGroup                    Key = 11
	keyHeartbeat                    Key = 12
	keyLeaveGroup                   Key = 13
	keySyncGroup                    Key = 14
	keyDescribeGroups               Key = 15
	keyListGroups                   Key = 16
	keySaslHandshake                Key = 17
	keyApiVersions                  Key = 18
	keyCreateTopics                 Key = 19
	keyDeleteTopics                 Key = 20
	keyDeleteRecords                Key = 21
	keyInitProducerID               Key = 22
	keyOffsetForLeaderEpoch         Key = 23
	keyAddPartitionsToTxn           Key = 24
	keyAddOffsetsToTxn              Key = 25
	keyEndTxn                       Key = 26
	keyTxnOffsetCommit              Key = 28
	keyDescribeACLs                 Key = 29
	keyCreateACLs                   Key = 30
	keyDeleteACLs                   Key = 31
	keyDescribeConfigs              Key = 32
	keyAlterConfigs                 Key = 33
	keyAlterReplicaLogDirs          Key = 34
	keyDescribeLogDirs              Key = 35
	keySaslAuthenticate             Key = 36
	keyCreatePartitions             Key = 37
	keyDeleteGroups                 Key = 42
	keyElectLeaders                 Key = 43
	keyIncrementalConfigs           Key = 44
	keyAlterPartitionAssignments    Key = 45
	keyListPartitionReassignments   Key = 46
	keyOffsetDelete                 Key = 47
	keyDescribeClientQuotas         Key = 48
	keyAlterClientQuotas            Key = 49
	keyDescribeUserSCRAMCredentials Key = 50
	keyAlterUserSCRAMCredentials    Key = 51
	keyDescribeQuorum               Key = 55
	keyUpdateFeatures               Key = 57
	keyDescribeCluster              Key = 60
	keyDescribeProducers            Key = 61
	keyUnregisterBroker             Key = 64
	keyDescribeTransactions         Key = 65
	keyListTransactions             Key = 66
	keyListConfigResources          Key = 74
	keyDescribeTopicPartitions      Key = 75
)

// noVersion is higher than every version of a request. It stands for the first flexible version of an API without one,
// and for the last version of a field that is present up to the newest version.
const noVersion = int16(1<<15 - 1)

// servedAPI is one API that the broker serves, with its versions.
type servedAPI struct {
	key      Key
	name     string
	min, max int16 // the versions that are advertised and decoded: [min, max]
	flexible int16 // the first version with compact fields and tags (KIP-482), or noVersion
}

// servedAPIs are the APIs and versions that ApiVersions advertises, in order of key.
//
// Produce is advertised from version 0, although versions below 3 are refused, because librdkafka before 2.11.1 turns
// compression off when it sees a higher minimum. Apache Kafka does the same for this reason (KIP-896, KAFKA-18659).
// Clients choose their behaviour by this list, so it leaves out the APIs of the consumer protocol of KIP-848 (68, 69), and
// the finalized feature that goes with them. WriteTxnMarkers (27) is for brokers.
var servedAPIs = [...]servedAPI{
	{keyProduce, "Produce", 0, 13, 9},
	{keyFetch, "Fetch", 4, 18, 12},
	{keyListOffsets, "ListOffsets", 1, 11, 6},
	{keyMetadata, "Metadata", 0, 13, 9},
	{keyOffsetCommit, "OffsetCommit", 2, 10, 8},
	{keyOffsetFetch, "OffsetFetch", 1, 10, 6},
	{keyFindCoordinator, "FindCoordinator", 0, 6, 3},
	{keyJoinGroup, "JoinGroup", 0, 9, 6},
	{keyHeartbeat, "Heartbeat", 0, 4, 4},
	{keyLeaveGroup, "LeaveGroup", 0, 5, 4},
	{keySyncGroup, "SyncGroup", 0, 5, 4},
	{keyDescribeGroups, "DescribeGroups", 0, 6, 5},
	{keyListGroups, "ListGroups", 0, 5, 3},
	{keySaslHandshake, "SaslHandshake", 0, 1, noVersion},
	{keyApiVersions, "ApiVersions", 0, 4, 3},
	{keyCreateTopics, "CreateTopics", 2, 7, 5},
	{keyDeleteTopics, "DeleteTopics", 1, 6, 4},
	{keyDeleteRecords, "DeleteRecords", 0, 2, 2},
	{keyInitProducerID, "InitProducerId", 0, 5, 2},
	{keyOffsetForLeaderEpoch, "OffsetForLeaderEpoch", 2, 4, 4},
	{keyAddPartitionsToTxn, "AddPartitionsToTxn", 0, 3, 3},
	{keyAddOffsetsToTxn, "AddOffsetsToTxn", 0, 4, 3},
	{keyEndTxn, "EndTxn", 0, 5, 3},
	{keyTxnOffsetCommit, "TxnOffsetCommit", 0, 5, 3},
	{keyDescribeACLs, "DescribeACLs", 1, 3, 2},
	{keyCreateACLs, "CreateACLs", 1, 3, 2},
	{keyDeleteACLs, "DeleteACLs", 1, 3, 2},
	{keyDescribeConfigs, "DescribeConfigs", 1, 4, 4},
	{keyAlterConfigs, "AlterConfigs", 0, 2, 2},
	{keyAlterReplicaLogDirs, "AlterReplicaLogDirs", 1, 2, 2},
	{keyDescribeLogDirs, "DescribeLogDirs", 1, 4, 2},
	{keySaslAuthenticate, "SaslAuthenticate", 0, 2, 2},
	{keyCreatePartitions, "CreatePartitions", 0, 3, 2},
	{keyDeleteGroups, "DeleteGroups", 0, 2, 2},
	{keyElectLeaders, "ElectLeaders", 0, 2, 2},
	{keyIncrementalConfigs, "IncrementalAlterConfigs", 0, 1, 1},
	{keyAlterPartitionAssignments, "AlterPartitionAssignments", 0, 1, 0},
	{keyListPartitionReassignments, "ListPartitionReassignments", 0, 0, 0},
	{keyOffsetDelete, "OffsetDelete", 0, 0, noVersion},
	{keyDescribeClientQuotas, "DescribeClientQuotas", 0, 1, 1},
	{keyAlterClientQuotas, "AlterClientQuotas", 0, 1, 1},
	{keyDescribeUserSCRAMCredentials, "DescribeUserSCRAMCredentials", 0, 0, 0},
	{keyAlterUserSCRAMCredentials, "AlterUserSCRAMCredentials", 0, 0, 0},
	{keyDescribeQuorum, "DescribeQuorum", 0, 2, 0},
	{keyUpdateFeatures, "UpdateFeatures", 0, 2, 0},
	{keyDescribeCluster, "DescribeCluster", 0, 2, 0},
	{keyDescribeProducers, "DescribeProducers", 0, 0, 0},
	{keyUnregisterBroker, "UnregisterBroker", 0, 0, 0},
	{keyDescribeTransactions, "DescribeTransactions", 0, 0, 0},
	{keyListTransactions, "ListTransactions", 0, 2, 0},
	{keyListConfigResources, "ListConfigResources", 0, 1, 0},
	{keyDescribeTopicPartitions, "DescribeTopicPartitions", 0, 0, 0},
}

// minProduce is the first version of Produce that carries record batches v2. Older versions are answered with
// UNSUPPORTED_VERSION.
const minProduce = 3

// servedAPIByKey holds, at the index of each key, a pointer to the row in servedAPIs, or nil if the API is not served.
var servedAPIByKey = func() (rows [128]*servedAPI) {
	for i := range servedAPIs {
		rows[servedAPIs[i].key] = &servedAPIs[i]
	}
	return rows
}()

// lookupAPI returns the row of servedAPIs with this key, or nil if the API is not served.
func lookupAPI(key Key) *servedAPI {
	if key < 0 || int(key) >= len(servedAPIByKey) {
		return nil
	}
	return servedAPIByKey[key]
}
