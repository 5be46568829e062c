// A repo's README; its relative links and pictures are the repo's own files at the revision shown.

import { useCallback } from "react";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { LazyMarkdown } from "../../widgets/LazyMarkdown";
import { filesUrl, resolveCardUrl } from "./cardLinks";

export function Card({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const base = filesUrl(repo, repo.revision);
  const resolve = useCallback((url: string) => resolveCardUrl(url, base), [base]);
  return (
    <div className="panel">
      {repo.card ? (
        <LazyMarkdown text={repo.card} resolve={resolve} />
      ) : (
        <p className="muted">{text.hub.noCard}</p>
      )}
    </div>
  );
}
