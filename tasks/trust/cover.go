package trust

// covers reports, of vertices with weights and a graph between them, which are in every cheapest set that has an end of
// every edge, and which are in none. Vertices may be taken by halves, which makes that a question of flow (Nemhauser and
// Trotter, "Vertex packings: structural properties and algorithms", 1975): with two copies of every vertex, an arc from
// each left copy to the right copies of its neighbours, and the weights on both sides, a vertex is in every set exactly
// if its right copy can be reached in what a largest flow leaves over, and in none if its left copy can. Which largest
// flow that is makes no difference.
func covers(weight []int, near [][]int) (every, none []bool) {
	n, edges := len(weight), 0
	for _, list := range near {
		edges += len(list)
	}
	f := newFlow(2*n+2, 2*n+edges)
	source, sink := 2*n, 2*n+1
	for v := range n {
		f.join(source, v, weight[v])
		f.join(n+v, sink, weight[v])
		for _, o := range near[v] {
			f.join(v, n+o, weight[v])
		}
	}
	for f.layers(source); f.level[sink] >= 0; f.layers(source) {
		copy(f.next, f.last)
		for f.push(source, sink, unlimited) > 0 {
		}
	}
	every, none = make([]bool, n), make([]bool, n)
	for v := range n {
		every[v], none[v] = f.level[n+v] >= 0, f.level[v] >= 0
	}
	return every, none
}

const unlimited = 1 << 60

// flow is a network with what its arcs can still carry (Dinic's algorithm). Arcs are numbered; the opposite of arc i is
// i^1.
type flow struct {
	arcs  []arc
	last  []int // arc of each vertex from which the others are chained; -1: it has none
	level []int // arcs from the source; -1: out of reach
	next  []int // arc to try next
	queue []int
}

type arc struct {
	to, next int // next is another arc of the vertex that this one leaves
	room     int
}

func newFlow(vertices, arcs int) *flow {
	all := make([]int, 4*vertices)
	f := &flow{arcs: make([]arc, 0, 2*arcs), last: all[:vertices], level: all[vertices : 2*vertices], next: all[2*vertices : 3*vertices], queue: all[3*vertices:]}
	for i := range f.last {
		f.last[i] = -1
	}
	return f
}

func (f *flow) join(from, to, room int) {
	i := len(f.arcs)
	f.arcs = append(f.arcs, arc{to, f.last[from], room}, arc{from, f.last[to], 0})
	f.last[from], f.last[to] = i, i+1
}

// layers finds how far everything is from the source.
func (f *flow) layers(source int) {
	for i := range f.level {
		f.level[i] = -1
	}
	f.level[source] = 0
	f.queue[0] = source
	for at, end := 0, 1; at < end; at++ {
		v := f.queue[at]
		for i := f.last[v]; i >= 0; i = f.arcs[i].next {
			if a := &f.arcs[i]; a.room > 0 && f.level[a.to] < 0 {
				f.level[a.to] = f.level[v] + 1
				f.queue[end] = a.to
				end++
			}
		}
	}
}

// push sends up to most from a vertex to the sink, a layer at a time, and says how much went.
func (f *flow) push(at, sink, most int) int {
	if at == sink {
		return most
	}
	for ; f.next[at] >= 0; f.next[at] = f.arcs[f.next[at]].next {
		i := f.next[at]
		a := &f.arcs[i]
		if a.room == 0 || f.level[a.to] != f.level[at]+1 {
			continue
		}
		if sent := f.push(a.to, sink, min(most, a.room)); sent > 0 {
			a.room -= sent
			f.arcs[i^1].room += sent
			return sent
		}
	}
	return 0
}
