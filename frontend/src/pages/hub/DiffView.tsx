// How the lines of a file changed: `+` and `-` at the front say it, the colour only helps.

import { useQuery } from "@tanstack/react-query";
import { queries } from "../../api/queries";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Loaded } from "../../widgets/Loaded";

const LOOKS: Record<string, string> = { "+": "added", "-": "deleted", "@": "hunk" };

export function DiffView({ repo, sha, path }: { repo: RepoDetail; sha: string; path: string }) {
  const { text } = useWords();
  const diff = useQuery(queries.diff(repo, sha, path));
  return (
    <Loaded query={diff}>
      {({ diff: shown, note }) => (
        <>
          {note && <p className="muted small">{text.repo.history.noDiff[note]}</p>}
          {shown && (
            <pre className="diff" tabIndex={0} aria-label={path}>
              {shown.split("\n").map((line, index) => (
                <span key={index} className={LOOKS[line[0] ?? ""]}>
                  {line}
                  {"\n"}
                </span>
              ))}
            </pre>
          )}
        </>
      )}
    </Loaded>
  );
}
