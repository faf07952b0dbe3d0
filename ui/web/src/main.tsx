// The page: one column of cards, fed by one live stream.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { follow, type Live } from "./api";
import { Grade } from "./grade";
import { Give, Reasons } from "./give";
import { Head } from "./head";
import { Jobs } from "./jobs";
import { About, Health, Now } from "./now";
import { Peers } from "./peers";
import { SubmitForm } from "./submit";
import { Trust } from "./trust";

function Page() {
  const [live, setLive] = useState<Live>({});
  const [up, setUp] = useState(true);
  const [help, setHelp] = useState(false);
  useEffect(() => follow((part) => setLive((known) => ({ ...known, ...part })), setUp), []);

  const { status } = live;
  useEffect(() => {
    const busy = (live.jobs ?? []).find((j) => j.finished === 0);
    document.title = busy ? `${Math.floor(busy.progress * 100)} % ${busy.name} – Kith` : "Kith";
  }, [live.jobs]);

  return (
    <>
      <Head status={status} up={up} onHelp={() => setHelp(!help)} />
      <main>
        {help && (
          <p class="notice" role="status">
            Keys: <kbd>p</kbd> pause or resume, <kbd>Shift</kbd>+<kbd>K</kbd> stop all, <kbd>?</kbd> this line. Everything here can also be done with the <code>kith</code> command: <code>kith --help</code>.
          </p>
        )}
        {status && <Health status={status} />}
        {status && <Reasons status={status} />}
        {status ? <Now status={status} /> : <p class="loading">Waiting for the node…</p>}
        <Jobs jobs={live.jobs} imports={live.imports} />
        {status && <Give status={status} />}
        <SubmitForm />
        <Peers peers={live.peers} />
        {status && <Trust />}
        {status && <Grade status={status} />}
        {status && <About status={status} />}
      </main>
      <footer class="quiet">Kith {status?.version}. This page is served by your own node, to this computer alone. Press <kbd>?</kbd> for keys.</footer>
    </>
  );
}

const root = document.getElementById("app")!;
root.textContent = "";
render(<Page />, root);
