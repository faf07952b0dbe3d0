// Package identity keeps the Ed25519 key that is this node: who it is on every network, what signs its promises. The
// key is made once, readable by its owner alone, and never replaced by itself: a damaged key file is an error with a
// remedy, because a new key would be another node without reputation, credit or jobs.
package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"kith/node/atomicfile"
	"kith/tasks"
)

// FileName is the key's file in the data folder: PKCS #8 in PEM, with the node's id in a header.
const FileName = "identity.key"

const (
	pemType = "PRIVATE KEY"
	pemNode = "Node" // names the public key, so that a flipped bit is noticed: any 32 bytes are a private key
	maxFile = 4096   // bytes; a key file has about 120
)

// Errors of this package. Match them with errors.Is; the wrapped text names the file and the remedy.
var (
	ErrDamaged     = errors.New("the key file is damaged")
	ErrPermissions = errors.New("the key file can be read by others")
)

// Identity is this node's key. Its methods are safe for concurrent use.
type Identity struct {
	key ed25519.PrivateKey
}

// Open loads the key of a data folder, or makes one if there is none. fresh tells which.
func Open(home string) (id Identity, fresh bool, err error) {
	path := filepath.Join(home, FileName)
	id, err = load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, false, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Identity{}, false, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Identity{}, false, fmt.Errorf("encode the key: %w", err)
	}
	made := Identity{key}
	block := &pem.Block{Type: pemType, Headers: map[string]string{pemNode: made.Node().String()}, Bytes: der}
	err = atomicfile.Create(path, pem.EncodeToMemory(block), 0o600)
	if errors.Is(err, fs.ErrExist) { // another process was faster; its key counts
		id, err = load(path)
		return id, false, err
	}
	if err != nil {
		return Identity{}, false, err
	}
	return made, true, nil
}

// Load reads the key of a data folder and returns an error that is fs.ErrNotExist if there is none.
func Load(home string) (Identity, error) { return load(filepath.Join(home, FileName)) }

func load(path string) (Identity, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Identity{}, fmt.Errorf("read the key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return Identity{}, damaged(path, "it is no plain file")
	}
	if err := private(path, info); err != nil {
		return Identity{}, err
	}
	if info.Size() > maxFile {
		return Identity{}, damaged(path, fmt.Sprintf("it has %d bytes", info.Size()))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Identity{}, fmt.Errorf("read the key: %w", err)
	}
	return parse(path, data)
}

func parse(path string, data []byte) (Identity, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != pemType || len(rest) > 0 {
		return Identity{}, damaged(path, "it is not one PEM block of type "+pemType)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return Identity{}, damaged(path, err.Error())
	}
	ed, ok := key.(ed25519.PrivateKey)
	if !ok {
		return Identity{}, damaged(path, "it holds a key that is not Ed25519")
	}
	id := Identity{ed}
	if want := id.Node().String(); block.Headers[pemNode] != want {
		return Identity{}, damaged(path, fmt.Sprintf("its key is that of %s, its header says %.60q", want, block.Headers[pemNode]))
	}
	return id, nil
}

func damaged(path, how string) error {
	return fmt.Errorf("%w: %s: %s; put a copy of it back, or move it away to become a new node without the old one's name, receipts and standing", ErrDamaged, path, how)
}

// Key returns the private key.
func (id Identity) Key() ed25519.PrivateKey { return id.key }

// Node returns the public key: the node's name.
func (id Identity) Node() tasks.NodeID { return tasks.NodeID(id.key.Public().(ed25519.PublicKey)) }

// LogValue implements slog.LogValuer: the name, never the key.
func (id Identity) LogValue() slog.Value {
	if id.key == nil {
		return slog.StringValue("none")
	}
	return id.Node().LogValue()
}

// String returns the name, never the key.
func (id Identity) String() string { return id.LogValue().String() }

// GoString keeps the key out of %#v.
func (id Identity) GoString() string { return "identity.Identity(" + id.String() + ")" }
