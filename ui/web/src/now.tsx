// What this computer does right now, what it uses, and what is wrong with it.
import type { Status } from "./api";
import { bytes, count, duration, place, rate, short } from "./format";
import { Bar, Card } from "./parts";

export function Now(props: { status: Status }) {
  const { work, owner, meters } = props.status;
  return (
    <Card title="Right now" id="now" aside={<span class="quiet">{work.running.length} of {count(work.slots, "slot")}, {count(work.sessions, "session")}</span>}>
      {work.running.length > 0 ? (
        <ul class="plain">
          {work.running.map((r) => (
            <li key={r.lease}>
              <div class="row">
                <span class="grow">{r.kinds.join(" → ")}</span>
                <span class="quiet">{r.state} for node {short(r.submitter)}, {duration(Math.max(0, Date.now() - r.since))}</span>
              </div>
              <Bar value={r.total > 0 ? r.done / r.total : 0} label={`progress of ${r.kinds.join(", ")}`} state={r.state === "running" ? "live" : ""} />
            </li>
          ))}
        </ul>
      ) : (
        <div class="empty">
          <p>{owner.level === "killed" ? "Everything is stopped until you resume." : owner.level === "paused" ? "Paused: no work is taken." : "No work at the moment."}</p>
          {owner.level !== "killed" && owner.level !== "paused" && work.why.map((w) => (
            <p key={w.code} class="quiet">{w.words}{w.detail ? `: ${w.detail}` : ""}; {w.remedy}</p>
          ))}
        </div>
      )}
      <dl class="meters" id="meters">
        <div><dt>Processor</dt><dd>{meters.cpuPercent.toFixed(0)} % <span class="quiet">of {meters.cores}00 %</span></dd></div>
        <div><dt>Memory</dt><dd>{bytes(meters.memoryBytes)}</dd></div>
        <div><dt>Network</dt><dd>↓ {rate(meters.inPerSecond)} <span class="quiet">↑ {rate(meters.outPerSecond)}</span></dd></div>
        <div><dt>Disk</dt><dd>{bytes(meters.diskUsedBytes)}{meters.diskQuotaBytes > 0 && <span class="quiet"> of {bytes(meters.diskQuotaBytes)}</span>}</dd></div>
        <div><dt>Tasks done</dt><dd>{work.done.toLocaleString()} <span class="quiet">{work.accepted > 0 && `${work.accepted.toLocaleString()} agreed`}{work.outvoted > 0 && `, ${work.outvoted} outvoted`}{work.returned > 0 && `, ${work.returned} handed back`}</span></dd></div>
      </dl>
    </Card>
  );
}

export function Health(props: { status: Status }) {
  const { health } = props.status;
  if (health.length === 0) return null;
  return (
    <ul class="plain health" aria-label="Problems">
      {health.map((p) => (
        <li key={p.code} class={p.severity}>
          <b>{p.title}.</b> {p.text} <span class="remedy">{p.remedy}</span>
        </li>
      ))}
    </ul>
  );
}

export function About(props: { status: Status }) {
  const s = props.status;
  return (
    <Card title="This node" id="about">
      <dl class="facts">
        <dt>Version</dt><dd>{s.version} on {s.platform}, up {duration(s.uptimeMillis)}</dd>
        <dt>Identity</dt><dd class="break">{s.peer}</dd>
        <dt>Reachable</dt><dd>{{ public: "directly, from anywhere", private: "through others (behind a router)" }[s.reachability] ?? "not known yet"}</dd>
        <dt>Addresses</dt><dd class="break">{s.addresses.length > 0 ? s.addresses.map((a) => <div key={a}>{a}</div>) : "none: outbound only"}</dd>
        <dt>Region</dt><dd>{place(s.region)}</dd>
        <dt>Sandbox</dt><dd>{s.sandbox.engine}, grade {s.sandbox.grade}: {s.sandbox.words}</dd>
        <dt>Data</dt><dd class="break">{s.home}</dd>
      </dl>
    </Card>
  );
}
