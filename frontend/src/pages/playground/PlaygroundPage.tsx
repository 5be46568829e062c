// The playground: conversations left, the chat in the middle, the settings right or in a drawer.

import { skipToken, useQuery } from "@tanstack/react-query";
import { useCallback, useState } from "react";
import { useNavigate, useParams, useSearchParams } from "react-router";
import { queries } from "../../api/queries";
import { useWords } from "../../i18n";
import { Fault } from "../../widgets/Fault";
import { PageSkeleton } from "../../widgets/PageSkeleton";
import { useTitle } from "../../widgets/useTitle";
import { ChatPane } from "./ChatPane";

export function PlaygroundPage() {
  const { id } = useParams();
  const { text } = useWords();
  const [params] = useSearchParams();
  const navigate = useNavigate();
  // A conversation born here keeps its pane: its first answer is still streaming when it gets its address.
  const [born, setBorn] = useState<string | undefined>();
  const [pane, setPane] = useState({ id, key: 0 });
  if (pane.id !== id) setPane({ id, key: id === born ? pane.key : pane.key + 1 });
  const conversation = useQuery(
    id ? queries.conversation(id) : { ...queries.conversation(""), queryFn: skipToken },
  );
  useTitle(conversation.data?.title || text.playground.title);
  const onStart = useCallback(
    (next: string) => {
      setBorn(next);
      void navigate(`/playground/${next}`, { replace: true });
    },
    [navigate],
  );
  const onOpen = (next: string | null) => {
    setBorn(undefined);
    setPane((old) => ({ ...old, key: old.key + 1 }));
    void navigate(next ? `/playground/${next}` : "/playground");
  };
  if (id && conversation.isError) {
    return (
      <div className="page">
        <Fault error={conversation.error} onRetry={() => void conversation.refetch()} />
      </div>
    );
  }
  if (id && !conversation.data) return <PageSkeleton />;
  return (
    <ChatPane
      key={pane.key}
      conversation={conversation.data}
      wished={params.get("model") ?? ""}
      onStart={onStart}
      onOpen={onOpen}
    />
  );
}
