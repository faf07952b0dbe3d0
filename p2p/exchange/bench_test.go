package exchange_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"kith/p2p"
	"kith/p2p/exchange"
	"kith/p2p/host"
	"kith/p2p/internal/p2ptest"
	"kith/p2p/rpc"
	"kith/storage"
	"kith/storage/badgerstore"
	"kith/storage/dag"
	"kith/storage/memstore"
)

// serverEnv makes the test binary the serving process; its value is "<store> <transports> <bytes>".
const serverEnv = "KITH_BENCH_SERVER"

func TestMain(m *testing.M) {
	if conf := os.Getenv(serverEnv); conf != "" {
		if err := serveBench(conf); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func openStore(kind, dir string) (storage.Blobs, func() error, error) {
	if kind == "mem" {
		return memstore.NewBlobs(), func() error { return nil }, nil
	}
	s, err := badgerstore.Open(dir, badgerstore.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	return s.Blobs(), s.Close, nil
}

func benchHost(name string, t host.Transports) (*host.Host, error) {
	return host.New(host.Config{
		Key: p2ptest.Key(name), Network: "bench", Profile: host.LAN, Listen: host.ListenLoopback, Transports: t,
		Logger: slog.New(slog.DiscardHandler),
	})
}

// serveBench makes a DAG, says its root and where it is, and serves it until its input ends.
func serveBench(conf string) error {
	var kind, transports string
	var size int64
	if _, err := fmt.Sscan(conf, &kind, &transports, &size); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "kith-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	blobs, closeStore, err := openStore(kind, dir)
	if err != nil {
		return err
	}
	defer closeStore()
	h, err := benchHost("server", host.Transports(transports))
	if err != nil {
		return err
	}
	defer h.Close()
	s := rpc.New(h)
	defer s.Close()
	x, err := exchange.New(h, s, blobs, exchange.Options{MayServe: anyone})
	if err != nil {
		return err
	}
	defer x.Close()
	file, err := dag.AddFile(context.Background(), blobs, io.LimitReader(noise{}, size), dag.Options{})
	if err != nil {
		return err
	}
	if err := blobs.Sync(context.Background()); err != nil {
		return err
	}
	fmt.Println(file.Root, strings.Join(h.Addrs(), " "))
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// noise is a source of bytes that no hash finds twice: xorshift over a package-wide state would be shared, so each
// read seeds from the clock.
type noise struct{}

func (noise) Read(p []byte) (int, error) {
	x := uint64(time.Now().UnixNano()) | 1
	for i := range p {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		p[i] = byte(x)
	}
	return len(p), nil
}

// BenchmarkTwoProcesses fetches one DAG from another process over loopback; a block is verified when it is read there,
// received here and stored here.
func BenchmarkTwoProcesses(b *testing.B) {
	const size = 256 << 20
	for _, store := range []string{"mem", "badger"} {
		for _, transports := range []host.Transports{host.TCPOnly, host.QUICOnly} {
			for _, way := range []string{"stream", "bitswap"} {
				b.Run(fmt.Sprintf("%s/%s/%s", store, transports, way), func(b *testing.B) {
					benchFetch(b, store, transports, way, size)
				})
			}
		}
	}
}

func benchFetch(b *testing.B, store string, transports host.Transports, way string, size int64) {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", serverEnv, store, transports, size))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(line)
	root, err := dag.ParseCID(fields[0])
	if err != nil {
		b.Fatal(err)
	}
	h, err := benchHost("client", transports)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	s := rpc.New(h)
	defer s.Close()
	server, err := h.ConnectAny(b.Context(), fields[1:])
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		b.StopTimer()
		blobs, closeStore, err := openStore(store, b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		x, err := exchange.New(h, s, blobs, exchange.Options{})
		if err != nil {
			b.Fatal(err)
		}
		r := exchange.Request{Root: root, Anyone: way == "bitswap"}
		if way == "stream" {
			r.From = []p2p.ID{server}
		}
		b.StartTimer()
		res, err := x.FetchDAG(b.Context(), r)
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		if res.Bytes < size {
			b.Fatalf("%d bytes", res.Bytes)
		}
		if err := x.Close(); err != nil {
			b.Fatal(err)
		}
		if err := closeStore(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
