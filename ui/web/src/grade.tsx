// How good this computer is, as measured, and what the score is made of.
import { useState } from "preact/hooks";
import { call, type Grade as Graded, type Status } from "./api";
import { Bar, Card, Trouble, useCall } from "./parts";

const names: Record<string, string> = { gpu: "Graphics card", cpu: "Processor", memory: "Memory", drive: "Drives", network: "Network", uptime: "Uptime" };

export function Grade(props: { status: Status }) {
  const { grade, owner } = props.status;
  const { busy, error, run } = useCall();
  const [full, setFull] = useState(false);
  const measure = () => run(() => call("POST", "bench", { mode: full ? "full" : "quick" }));
  const running = grade.running || busy;
  return (
    <Card title="Grade" id="grade" aside={<span class="quiet">{summary(grade)}</span>}>
      {grade.at > 0 && (
        <ul class="plain" aria-label="Parts of the score">
          {grade.terms.map((t) => (
            <li key={t.part}>
              <div class="row">
                <span class="grow">{names[t.part] ?? t.part}{t.device && t.device !== t.part && <span class="quiet"> {t.device}</span>}</span>
                <span class="quiet">{t.ungraded ? `not graded: ${t.ungraded}` : `${t.points.toFixed(0)} of 100, counts ${t.weight.toFixed(0)} %, gives ${t.gives.toFixed(1)}`}</span>
              </div>
              <Bar value={t.points / 100} label={`points of ${names[t.part] ?? t.part}`} />
            </li>
          ))}
        </ul>
      )}
      {grade.penalties.map((p) => (
        <p key={p.why} class="quiet">−{p.points.toFixed(1)}: {p.why}</p>
      ))}
      <div class="row">
        <span class="grow quiet">{grade.at > 0 ? `Measured ${new Date(grade.at).toLocaleString()}.` : "Not measured yet. It happens by itself once nobody needs this computer for a while."}</span>
        <label class="inline quiet"><input type="checkbox" checked={full} disabled={running} onChange={(e) => setFull(e.currentTarget.checked)} /> thoroughly (90 s)</label>
        <button type="button" id="measure" disabled={running || owner.state === "killed"} onClick={measure}>{running ? "Measuring…" : "Measure now"}</button>
      </div>
      <Trouble error={error} />
    </Card>
  );
}

function summary(g: Graded): string {
  if (g.ungraded || g.at === 0) return g.at === 0 ? "ungraded" : `ungraded: ${g.ungraded}`;
  return `${g.score.toFixed(1)} of 100, band ${g.band} of 10, class ${g.class}`;
}
