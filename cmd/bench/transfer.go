package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"kith/p2p"
	"kith/p2p/exchange"
	"kith/p2p/host"
	"kith/p2p/rpc"
	"kith/storage/badgerstore"
	"kith/storage/dag"
)

// peerRole is the first argument of the child that serves the blocks.
const peerRole = "serve-blocks"

// transferSize is the DAG that travels, in bytes.
const transferSize = 256 << 20

// transfer fetches one large DAG from another process over loopback, Badger on both sides, by TCP and by QUIC.
func transfer(ctx context.Context, b *bench) ([]row, error) {
	var rows []row
	for _, t := range []struct {
		by        host.Transports
		reference string
		want      float64
	}{
		{host.TCPOnly, "bare Bitswap from memory 585 MB/s", 200},
		{host.QUICOnly, "the leading IPFS node 100 MB/s, bare Bitswap from memory 188 MB/s", 150},
	} {
		for _, bitswap := range []bool{false, true} {
			got, err := transferOnce(ctx, b, t.by, bitswap)
			if err != nil {
				return nil, fmt.Errorf("over %s: %w", t.by, err)
			}
			r := row{What: fmt.Sprintf("one 256 MB DAG between two processes, %s", strings.ToUpper(string(t.by))), Reference: t.reference, Want: t.want, Got: got, Unit: "MB/s"}
			if bitswap {
				r.What += ", by Bitswap"
				r.Want = 0
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func transferOnce(ctx context.Context, b *bench, by host.Transports, bitswap bool) (float64, error) {
	dir, err := os.MkdirTemp(b.dir, "transfer")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	server := exec.CommandContext(ctx, self, peerRole, "-dir", filepath.Join(dir, "server"), "-transports", string(by))
	server.Stderr = os.Stderr
	hold, err := server.StdinPipe() // the child ends when this closes
	if err != nil {
		return 0, err
	}
	said, err := server.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := server.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = hold.Close()
		_ = server.Wait()
	}()
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("the serving process said nothing: %w", err)
	}
	address, root, ok := strings.Cut(strings.TrimSpace(line), " ")
	if !ok {
		return 0, fmt.Errorf("the serving process said %q", line)
	}
	want, err := dag.ParseCID(root)
	if err != nil {
		return 0, err
	}
	p, err := newPeer(filepath.Join(dir, "client"), by, 1)
	if err != nil {
		return 0, err
	}
	defer p.close()
	from, err := p.host.Connect(ctx, address)
	if err != nil {
		return 0, err
	}
	request := exchange.Request{Root: want, From: []p2p.ID{from}}
	if bitswap {
		request = exchange.Request{Root: want, Anyone: true}
	}
	begun := time.Now()
	got, err := p.exchange.FetchDAG(ctx, request)
	if err != nil {
		return 0, err
	}
	return float64(got.Bytes) / 1e6 / time.Since(begun).Seconds(), nil
}

// servePeer is the child: it makes the DAG, says where it is, and serves it until its input ends.
func servePeer(args []string) error {
	flags := flag.NewFlagSet(peerRole, flag.ContinueOnError)
	dir := flags.String("dir", "", "")
	by := flags.String("transports", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	p, err := newPeer(*dir, host.Transports(*by), 2)
	if err != nil {
		return err
	}
	defer p.close()
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], 256)
	file, err := dag.AddFile(context.Background(), p.store.Blobs(), io.LimitReader(rand.NewChaCha8(seed), transferSize), dag.Options{})
	if err != nil {
		return err
	}
	for _, a := range p.host.Addrs() {
		if strings.Contains(a, "/127.0.0.1/") {
			fmt.Println(a, file.Root)
			_, err := io.Copy(io.Discard, os.Stdin)
			return err
		}
	}
	return errors.New("no loopback address")
}

// peer is the network and storage half of a node.
type peer struct {
	store    *badgerstore.Store
	host     *host.Host
	rpc      *rpc.Service
	exchange *exchange.Exchange
}

func newPeer(dir string, by host.Transports, seed byte) (_ *peer, err error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	p := &peer{}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.store, err = badgerstore.Open(dir, badgerstore.Options{Logger: log}); err != nil {
		return nil, err
	}
	p.host, err = host.New(host.Config{
		Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)), Network: "bench",
		Profile: host.LAN, Listen: host.ListenLoopback, Transports: by, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	p.rpc = rpc.New(p.host)
	p.exchange, err = exchange.New(p.host, p.rpc, p.store.Blobs(), exchange.Options{MayServe: func(p2p.ID, dag.CID) bool { return true }})
	return p, err
}

func (p *peer) close() {
	if p.exchange != nil {
		_ = p.exchange.Close()
	}
	if p.host != nil {
		_ = p.host.Close()
	}
	if p.store != nil {
		_ = p.store.Close()
	}
}
