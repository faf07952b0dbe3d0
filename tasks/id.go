package tasks

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"log/slog"

	"kith/storage/dag"
)

// NodeID is a node's Ed25519 public key: who it is on every network.
type NodeID [32]byte

// JobID names a job: a hash over network, submitter, spec and nonce.
type JobID [32]byte

// TaskID names a task: a hash over job, stage, index and input roots, so that the same work has the same name after a
// restart.
type TaskID [32]byte

// LeaseID names one promise of one task to one worker: a hash over job, task, attempt, worker, session epoch, expiry.
type LeaseID [32]byte

// CodeHash names the code that did a task: a hash over the names and versions of its kinds.
type CodeHash [32]byte

// Nonce makes two jobs with the same spec different.
type Nonce [16]byte

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

const shortLen = 10 // letters of an id in logs and tables

func text(id [32]byte) string { return base32Lower.EncodeToString(id[:]) }

func parse(s string, into *[32]byte) error {
	b, err := base32Lower.DecodeString(s)
	if err != nil || len(b) != 32 || base32Lower.EncodeToString(b) != s { // one text form: no line breaks, no bits after the end
		return fmt.Errorf("%.80q is not an id: want 52 letters a-z2-7", s)
	}
	copy(into[:], b)
	return nil
}

func (id NodeID) String() string  { return text(id) }
func (id JobID) String() string   { return text(id) }
func (id TaskID) String() string  { return text(id) }
func (id LeaseID) String() string { return text(id) }

// Short is the form for tables and logs.
func (id NodeID) Short() string  { return text(id)[:shortLen] }
func (id JobID) Short() string   { return text(id)[:shortLen] }
func (id TaskID) Short() string  { return text(id)[:shortLen] }
func (id LeaseID) Short() string { return text(id)[:shortLen] }

// LogValue implements slog.LogValuer with the short form.
func (id NodeID) LogValue() slog.Value  { return slog.StringValue(id.Short()) }
func (id JobID) LogValue() slog.Value   { return slog.StringValue(id.Short()) }
func (id TaskID) LogValue() slog.Value  { return slog.StringValue(id.Short()) }
func (id LeaseID) LogValue() slog.Value { return slog.StringValue(id.Short()) }

// MarshalText and UnmarshalText carry ids through JSON.
func (id NodeID) MarshalText() ([]byte, error)  { return []byte(text(id)), nil }
func (id JobID) MarshalText() ([]byte, error)   { return []byte(text(id)), nil }
func (id TaskID) MarshalText() ([]byte, error)  { return []byte(text(id)), nil }
func (id LeaseID) MarshalText() ([]byte, error) { return []byte(text(id)), nil }

// MarshalText carries the hash through JSON.
func (h CodeHash) MarshalText() ([]byte, error) { return []byte(text(h)), nil }

func (id *NodeID) UnmarshalText(b []byte) error  { return parse(string(b), (*[32]byte)(id)) }
func (id *JobID) UnmarshalText(b []byte) error   { return parse(string(b), (*[32]byte)(id)) }
func (id *TaskID) UnmarshalText(b []byte) error  { return parse(string(b), (*[32]byte)(id)) }
func (id *LeaseID) UnmarshalText(b []byte) error { return parse(string(b), (*[32]byte)(id)) }

// UnmarshalText reads what MarshalText writes.
func (h *CodeHash) UnmarshalText(b []byte) error { return parse(string(b), (*[32]byte)(h)) }

// hashFields is SHA-256 over a domain and length-prefixed fields, so that no two lists of fields collide.
func hashFields(domain string, fields ...[]byte) [32]byte {
	h := sha256.New()
	var n [8]byte
	put := func(b []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	put([]byte(domain))
	for _, f := range fields {
		put(f)
	}
	return [32]byte(h.Sum(nil))
}

func u64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// NewJobID derives the id of a job.
func NewJobID(network string, submitter NodeID, spec dag.CID, nonce Nonce) JobID {
	return hashFields("kith/job/1", []byte(network), submitter[:], spec[:], nonce[:])
}

// NewTaskID derives the id of a task. The order of inputs counts.
func NewTaskID(job JobID, stage, index int, inputs []dag.CID) TaskID {
	fields := [][]byte{job[:], u64(uint64(stage)), u64(uint64(index))}
	for i := range inputs {
		fields = append(fields, inputs[i][:])
	}
	return hashFields("kith/task/1", fields...)
}

// NewLeaseID derives the id of a lease. Expiry is in Unix milliseconds.
func NewLeaseID(job JobID, task TaskID, attempt int, worker NodeID, epoch uint64, expiry int64) LeaseID {
	return hashFields("kith/lease/1", job[:], task[:], u64(uint64(attempt)), worker[:], u64(epoch), u64(uint64(expiry)))
}
