package wire

import (
	"fmt"
	"testing"
)

func BenchmarkSession(b *testing.B) {
	for _, n := range []int{1, 64} {
		for _, m := range []Message{sampleLeases(n), sampleCommits(n)} {
			b.Run(fmt.Sprintf("%s=%d/seal", m.Type(), n), func(b *testing.B) {
				w, s := started(b)
				if m.Type() == TypeCommits {
					w, s = s, w
				}
				_ = w
				b.ReportAllocs()
				for b.Loop() {
					if _, err := s.Seal(m, testNow); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprintf("%s=%d/open", m.Type(), n), func(b *testing.B) {
				w, s := started(b)
				if m.Type() == TypeCommits {
					w, s = s, w
				}
				f, err := s.Seal(m, testNow)
				if err != nil {
					b.Fatal(err)
				}
				st := w.received
				b.ReportAllocs()
				for b.Loop() {
					w.received, w.heads = st, nil
					if _, err := w.Open(f[frameHead:], testNow); err != nil {
						b.Fatal(err)
					}
				}
				b.SetBytes(int64(len(f)))
			})
		}
	}
}
