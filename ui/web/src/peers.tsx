// The nodes this one is connected to.
import type { Peer } from "./api";
import { duration, place } from "./format";
import { Card, Id } from "./parts";

export function Peers(props: { peers?: Peer[] }) {
  const peers = props.peers ?? [];
  return (
    <Card title="Peers" id="peers" aside={<span class="quiet">{peers.length} connected</span>}>
      {peers.length === 0 ? (
        <p class="empty">No other node yet. On the same network they find each other by themselves; elsewhere give this node an address with <code>kith run --bootstrap</code>.</p>
      ) : (
        <div class="scroll">
          <table>
            <thead><tr><th>Node</th><th>Path</th><th class="num">Round trip</th><th>Region</th><th>Role</th><th class="num">For</th></tr></thead>
            <tbody>
              {peers.map((p) => (
                <tr key={p.node}>
                  <td><Id id={p.node} /></td>
                  <td title={p.address}>{p.direct ? p.transport : "relayed"}{p.inbound ? ", inbound" : ""}</td>
                  <td class="num">{p.rttMillis > 0 ? `${p.rttMillis.toFixed(1)} ms` : "…"}</td>
                  <td>{place(p.region)}</td>
                  <td>{p.roles.join(", ") || "–"}</td>
                  <td class="num">{duration(Math.max(0, Date.now() - p.since))}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}
