package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"kith/tasks"
	"kith/tasks/verify"
)

// AgreementFile is the one file of what OpCompare writes: for each pair of inputs (0,1), (0,2), (1,2), (0,3), … a '1' if
// they agree, else a '0'.
const AgreementFile = "agreement"

// Agreements is the size of AgreementFile for n inputs.
func Agreements(n int) int { return n * (n - 1) / 2 }

// compare writes which of the inputs agree. One that the kind cannot read agrees with none.
func compare(ctx context.Context, kind tasks.Kind, c *tasks.Call) error {
	agree, err := comparator(ctx, kind, c)
	if err != nil {
		return err
	}
	out := make([]byte, 0, Agreements(len(c.In)))
	for j := range c.In {
		for i := range j {
			b := byte('0')
			if agree(i, j) {
				b = '1'
			}
			out = append(out, b)
		}
	}
	f, err := c.Out.Create(AgreementFile)
	if err != nil {
		return err
	}
	_, err = f.Write(out)
	return errors.Join(err, f.Close())
}

// comparator reads all inputs and returns how two of them compare.
func comparator(ctx context.Context, kind tasks.Kind, c *tasks.Call) (func(i, j int) bool, error) {
	d := kind.Describe()
	switch k := kind.(type) {
	case tasks.Numbered:
		read := make([]*tasks.Numbers, len(c.In))
		for i, in := range c.In {
			err := legible(ctx, c, i, func() error {
				n, err := k.Numbers(ctx, c, in)
				read[i] = &n
				return err
			})
			if err != nil {
				read[i] = nil
			}
		}
		return func(i, j int) bool {
			return read[i] != nil && read[j] != nil && verify.Alike(read[i], read[j], d.Tolerance)
		}, ctx.Err()
	case tasks.Validated:
		valid := make([]bool, len(c.In))
		for i, in := range c.In {
			valid[i] = legible(ctx, c, i, func() error { return k.Validate(ctx, c, in) }) == nil
		}
		return func(i, j int) bool { return valid[i] && valid[j] }, ctx.Err()
	}
	return nil, fmt.Errorf("results of %s are compared by their bytes", d.Name)
}

// legible runs read on one input; a panic of it is its error. What is wrong with an output is for the log alone.
func legible(ctx context.Context, c *tasks.Call, i int, read func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		if err != nil && ctx.Err() == nil {
			c.Log("output %d: %v", i, err)
		}
	}()
	if _, err := fs.Stat(c.In[i], "."); err != nil {
		return err
	}
	return read()
}
