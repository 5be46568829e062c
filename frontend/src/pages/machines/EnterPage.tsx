// Where a machine's address sends a browser that it does not know: signs it in there and goes back.

import { useEffect, useRef, useState } from "react";
import { useSearchParams } from "react-router";
import { post } from "../../api/client";
import { useWords } from "../../i18n";
import { Fault } from "../../widgets/Fault";
import { LinkButton } from "../../widgets/LinkButton";
import { PageHead } from "../../widgets/PageHead";

export function EnterPage() {
  const { text } = useWords();
  const words = text.machines.enter;
  const [search] = useSearchParams();
  const [error, setError] = useState<unknown>(null);
  const isAsked = useRef(false);
  const key = search.get("key") ?? "";
  const port = Number(search.get("port"));
  const path = search.get("path") ?? "/";
  useEffect(() => {
    if (isAsked.current) return;
    isAsked.current = true;
    post<{ url: string }>(`/api/machines/${encodeURIComponent(key)}/enter/`, { port, path }).then(
      ({ url }) => window.location.replace(url),
      setError,
    );
  }, [key, port, path]);
  return (
    <div className="page" style={{ maxWidth: 640 }}>
      <PageHead title={error ? words.failed : words.title} lead={error ? undefined : words.text} />
      {error !== null && (
        <>
          <Fault error={error} />
          <LinkButton to="/machines">{words.back}</LinkButton>
        </>
      )}
    </div>
  );
}
