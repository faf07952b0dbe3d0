package artifact

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
)

// Order is what is to lie in a depot, and for how long.
type Order struct {
	Network string
	Key     ed25519.PrivateKey // of the depositor
	Root    dag.CID
	Until   time.Time // no more than wire.MaxDeposit from now
}

// Deposit brings a DAG to the depot at the other end of a stream. It returns when the depot has it all and says that it
// keeps it. What an earlier attempt brought does not travel again. A refusal is a tasks.Reason.
func Deposit(ctx context.Context, s Stream, blobs storage.Blobs, o Order) error {
	stop := context.AfterFunc(ctx, func() { _ = s.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := deposited(ctx, s, blobs, o); err != nil {
		return ended(ctx, fmt.Errorf("deposit %s: %w", o.Root, err))
	}
	return nil
}

func deposited(ctx context.Context, s Stream, blobs storage.Blobs, o Order) error {
	bytes, err := size(ctx, blobs, o.Root)
	if err != nil {
		return err
	}
	now := time.Now()
	until := min(o.Until.UnixMilli(), now.Add(wire.MaxDeposit).UnixMilli())
	order, err := wire.SignDeposit(o.Network, o.Key, wire.Deposit{
		Depot: s.Remote(), Root: o.Root, Bytes: max(bytes, 1), Time: now.UnixMilli(), Until: until,
	})
	if err != nil {
		return err
	}
	if err := write(s, &wire.DepositRequest{Version: wire.Version, Network: o.Network, Order: order}); err != nil {
		return err
	}
	var reply wire.DepositReply
	if err := read(s, &reply); err != nil {
		return err
	}
	if reply.Reason != nil {
		return *reply.Reason
	}
	if reply.Until > 0 {
		return nil // it was there
	}
	sent := send(ctx, s, blobs, o.Root, reply.Have, false)
	reply = wire.DepositReply{}
	wait := blockTime // the depot may still be storing
	if sent != nil {
		wait = lastWord
	}
	if err := s.SetDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	if err := wire.ReadSingle(s, &reply, time.Now().UnixMilli()); err != nil {
		if sent != nil {
			err = sent
		}
		return err
	}
	switch {
	case reply.Reason != nil:
		return *reply.Reason
	case sent != nil:
		return sent
	case reply.Until == 0:
		return tasks.Because(tasks.BadMessage, "the depot does not say that it keeps the deposit")
	}
	return nil
}
