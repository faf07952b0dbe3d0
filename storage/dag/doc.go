// Package dag is the ground floor of Kith's data: content identifiers, the two block codecs (raw and strict
// DAG-CBOR), and the shapes built of blocks: files, directories and their walks. It knows no store and no network;
// it reads and writes blocks through one-method interfaces that its callers hand in.
package dag
