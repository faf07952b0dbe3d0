package memstore_test

import (
	"errors"
	"testing"

	"kith/storage"
	"kith/storage/memstore"
	"kith/storage/storagetest"
)

func TestConformance(t *testing.T) {
	t.Run("Blobs", func(t *testing.T) {
		storagetest.Blobs(t, func(*testing.T) (storagetest.Collected, func() error) {
			b := memstore.NewBlobs()
			return b, b.Close
		})
	})
	t.Run("KV", func(t *testing.T) {
		storagetest.KV(t, func(*testing.T) (storage.KV, func() error) {
			kv := memstore.NewKV()
			return kv, kv.Close
		})
	})
}

func TestLimit(t *testing.T) {
	s := memstore.NewBlobs()
	s.SetLimit(1500)
	a, b := storagetest.Block(1, 1000), storagetest.Block(2, 1000)
	if err := s.Put(t.Context(), a.CID, a.Data); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), b.CID, b.Data); !errors.Is(err, storage.ErrFull) {
		t.Errorf("over the limit: %v", err)
	}
	if err := s.Put(t.Context(), a.CID, a.Data); err != nil {
		t.Errorf("known block: %v", err)
	}
	if err := s.Delete(t.Context(), a.CID); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), b.CID, b.Data); err != nil || s.Used() != 1000 {
		t.Errorf("after a delete: %v, %d used", err, s.Used())
	}
}
