// Package p2p holds the plain types that Kith's network packages share: who a peer is, what a stream is, what is known
// about a connection, and the errors of the network. It knows peers, streams, topics and blocks, and nothing of jobs.
//
// One concern a package: host (identity, transports, connections, finding peers), dht (records and providers), gossip
// (topics), rpc (streams), exchange (blocks), geo (regions). Only packages below p2p import libp2p, kad-dht, pubsub and
// boxo; none of their types stands in a face that a package outside p2p needs.
package p2p
