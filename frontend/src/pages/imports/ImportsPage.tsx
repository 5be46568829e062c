// Imports: a form that begins one, and beside it how those are that were begun.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { importQueries, isLiving, type ImportSeen } from "../../api/importQueries";
import { queries } from "../../api/queries";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { ImportForm } from "./ImportForm";
import { ImportLine } from "./ImportLine";
import "./imports.css";

export function ImportsPage() {
  const { text } = useWords();
  const words = text.imports;
  const { data: me } = useQuery(queries.me());
  const imports = useQuery(importQueries.list());
  const isAnyLiving = imports.data?.results.some(isLiving) ?? false;
  useFreshRepos(imports.data?.results);
  return (
    <div className="page">
      <PageHead title={words.title} lead={words.lead} />
      <div className="imports">
        {me && <ImportForm me={me} />}
        <section
          className={isAnyLiving ? "panel flush imports-live" : "panel flush"}
          aria-label={words.list}
        >
          <div className="panel-head">
            <h2>{words.list}</h2>
          </div>
          <Loaded query={imports}>
            {({ results, count }) => <Lines items={results} count={count} />}
          </Loaded>
        </section>
      </div>
    </div>
  );
}

function Lines({ items, count }: { items: ImportSeen[]; count: number }) {
  const { text, format } = useWords();
  const words = text.imports;
  if (items.length === 0) return <EmptyState title={words.empty} text={words.emptyText} />;
  return (
    <>
      <ul className="import-list">
        {items.map((item) => (
          <ImportLine key={item.id} item={item} />
        ))}
      </ul>
      {count > items.length && (
        <p className="muted small import-more">
          {words.more(format.number(items.length), format.number(count))}
        </p>
      )}
    </>
  );
}

/** Looks at the hub's lists again when an import has ended. */
function useFreshRepos(items: ImportSeen[] | undefined): void {
  const cache = useQueryClient();
  const numLiving = items?.filter(isLiving).length ?? 0;
  const before = useRef(0);
  useEffect(() => {
    if (numLiving < before.current) {
      void cache.invalidateQueries({ queryKey: ["repos"] });
      void cache.invalidateQueries({ queryKey: ["repo"] });
    }
    before.current = numLiving;
  }, [numLiving, cache]);
}
