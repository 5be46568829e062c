// A person likes a repo, or no longer; the number is everybody's.

import { Button } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { call } from "../../api/client";
import { queries } from "../../api/queries";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { HeartFilled, HeartOutlined } from "../../widgets/icons";
import { useAction } from "../useAction";

export function LikeButton({ repo }: { repo: RepoDetail }) {
  const { text, format } = useWords();
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const number = format.number(repo.likes);
  const toggle = () =>
    run(async () => {
      const method = repo.is_liked ? "DELETE" : "PUT";
      const address = `/api/hub/repos/${repo.kind}/${repo.id}/like/`;
      const now = await call<Pick<RepoDetail, "likes" | "is_liked">>(method, address);
      const { queryKey } = queries.repo(repo.kind, repo.id);
      cache.setQueriesData<RepoDetail>({ queryKey }, (old) => old && { ...old, ...now });
      await cache.invalidateQueries({ queryKey: ["repos"] });
    });
  return (
    <Button
      aria-pressed={repo.is_liked}
      aria-label={repo.is_liked ? text.finding.unlike(number) : text.finding.like(number)}
      icon={repo.is_liked ? <HeartFilled /> : <HeartOutlined />}
      loading={isBusy}
      onClick={() => void toggle()}
    >
      {number}
    </Button>
  );
}
