// What this node and others owe one another, and what it thinks of the workers it has met.
import { useEffect, useState } from "preact/hooks";
import { call, type Credit, type Trust as Judged } from "./api";
import { count, duration, short, time } from "./format";
import { Ask, Card, Id, Trouble, useCall } from "./parts";

const every = 60_000; // milliseconds between two looks; all signatures are checked at each

const standings: Record<string, string> = { newcomer: "newcomer", proven: "proven", suspended: "suspended", banned: "banned for good" };

export function Trust() {
  const [credit, setCredit] = useState<Credit>();
  const [workers, setWorkers] = useState<Judged[]>();
  const { busy, error, run } = useCall();
  const load = () =>
    run(async () => {
      const [c, t] = await Promise.all([call<Credit>("GET", "credit"), call<Judged[]>("GET", "trust")]);
      setCredit(c);
      setWorkers(t);
    });
  useEffect(() => {
    load();
    const timer = window.setInterval(() => document.visibilityState === "visible" && load(), every);
    return () => window.clearInterval(timer);
  }, []);
  return (
    <Card title="Credit and trust" id="trust" aside={credit && <span class="quiet">{standing(credit.balanceMillis)}</span>}>
      {credit && <Owed credit={credit} />}
      {workers && <Workers workers={workers} onChange={load} />}
      <div class="row">
        <span class="grow quiet">{credit ? `Digest ${credit.digest}: whoever has these receipts computes the same.` : "Adding up the receipts…"}</span>
        <button type="button" id="recount" disabled={busy} onClick={load}>Look again</button>
      </div>
      <Trouble error={error} />
    </Card>
  );
}

function standing(balance: number): string {
  if (balance === 0) return "nobody owes anybody";
  return balance > 0 ? `others owe you ${duration(balance)} of processor time` : `you owe others ${duration(-balance)} of processor time`;
}

function Owed(props: { credit: Credit }) {
  const { with: list, void: worthless, asked, delivered } = props.credit;
  if (list.length === 0) return <p class="empty">Nothing yet. What you do for others, and they for you, is signed by both and added up here.</p>;
  const nothing = Object.entries(worthless).filter(([, n]) => n > 0);
  return (
    <div class="scroll" id="credit">
      <table>
        <thead><tr><th>With</th><th>Balance</th><th class="num">You did</th><th class="num">They did</th><th class="num">Receipts</th><th>They sign</th></tr></thead>
        <tbody>
          {list.map((w) => (
            <tr key={w.node} class={w.last ? "bad" : ""}>
              <td><Id id={w.node} /></td>
              <td>{w.netMillis === 0 ? "even" : w.netMillis > 0 ? `owes you ${duration(w.netMillis)}` : `you owe ${duration(-w.netMillis)}`}</td>
              <td class="num">{duration(w.didMillis)}</td>
              <td class="num">{duration(w.gotMillis)}</td>
              <td class="num">{w.receipts}</td>
              <td>
                {w.earned > 0 ? `${w.signed} of ${w.earned}` : "–"}
                {w.last && ", so it is served last"}
                {w.restUntil > 0 && <span> said nothing of results it had: it gets no more until {time(w.restUntil)}</span>}
                {w.restUntil === 0 && w.silent > 0 && <span class="quiet"> {count(w.silent, "result")} without a word yet</span>}
                {w.claims > 0 && <span class="quiet"> {count(w.claims, "claim")} without a receipt, {duration(w.unsignedMillis)}</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {nothing.length > 0 && <p class="quiet">Worth nothing: {nothing.map(([why, n]) => `${count(n, "receipt")} ${why}`).join(", ")}.</p>}
      {asked > 0 && <p class="quiet">{count(asked, "result was", "results were")} demanded of you and got no verdict{delivered > 0 && `; for ${delivered} it is signed that they arrived`}.</p>}
    </div>
  );
}

function Workers(props: { workers: Judged[]; onChange: () => void }) {
  const [appeal, setAppeal] = useState<Judged>();
  const { busy, error, run } = useCall();
  const grant = async (who: Judged) => {
    setAppeal(undefined);
    if (await run(() => call("POST", `trust/${who.node}/appeal`))) props.onChange();
  };
  if (props.workers.length === 0) return <p class="empty">You have met no worker yet. Those who do your jobs are judged here, by their results alone.</p>;
  return (
    <ul class="plain" id="workers" aria-label="Workers you have met">
      {props.workers.map((t) => (
        <li key={t.node} class="job">
          <div class="row wrap">
            <Id id={t.node} />
            <span class={`tag ${t.standing === "suspended" || t.standing === "banned" ? "failed" : ""}`}>{standings[t.standing] ?? t.standing}</span>
            <span class="grow quiet">{tally(t)}</span>
            <span class="quiet count">{t.score} of 1000</span>
            {t.standing === "suspended" && <button type="button" class="appeal" disabled={busy} onClick={() => setAppeal(t)}>Give another chance</button>}
          </div>
          {t.words.filter((w) => !w.startsWith("kith ")).map((w) => <p key={w} class="quiet">{w}</p>)}
          {(t.cases.length > 0 || t.proof !== "") && (
            <details>
              <summary>Evidence</summary>
              {t.proof !== "" && <p class="quiet break">It signed two things that cannot both be true. Proof {t.proof}; <code>kith evidence export</code> writes it down for others to check.</p>}
              {t.cases.length > 0 && (
                <div class="scroll">
                  <table>
                    <thead><tr><th>When</th><th>Task</th><th>Work</th><th class="num">With it</th><th class="num">Against it</th><th>Verdict</th></tr></thead>
                    <tbody>
                      {t.cases.map((c) => (
                        <tr key={c.task}>
                          <td>{new Date(c.at).toLocaleString()}</td>
                          <td title={c.task}>{short(c.task)}</td>
                          <td>{c.what}</td>
                          <td class="num" title={c.with.map(short).join(" ")}>{c.with.length}</td>
                          <td class="num" title={c.against.map(short).join(" ")}>{c.against.length}</td>
                          <td>{c.won ? "won" : "lost"}</td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </div>
              )}
            </details>
          )}
        </li>
      ))}
      <Trouble error={error} />
      {appeal && (
        <Ask
          title={`Give ${short(appeal.node)} another chance?`}
          text="What contradicts it is forgotten, and it begins as a newcomer: every result of it is compared with others' until ten in a row agree."
          yes="Give another chance" onYes={() => grant(appeal)} onNo={() => setAppeal(undefined)}
        />
      )}
    </ul>
  );
}

function tally(t: Judged): string {
  const bad = t.counts.outvoted + t.counts.forged + t.counts.withheld + t.counts.lapsed;
  return `${t.counts.accepted.toFixed(1)} accepted, ${bad.toFixed(1)} bad`;
}
