// A person's own page: how they appear, how they sign in, tokens for scripts.

import { useQuery } from "@tanstack/react-query";
import { queries } from "../../api/queries";
import { useWords } from "../../i18n";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { PasswordPanel } from "./PasswordPanel";
import { SshKeysPanel } from "./SshKeysPanel";
import { TokensPanel } from "./TokensPanel";
import { YouPanel } from "./YouPanel";

export function ProfilePage() {
  const { text } = useWords();
  const me = useQuery(queries.me());
  return (
    <div className="page" style={{ maxWidth: 880 }}>
      <PageHead title={text.profile.title} lead={text.profile.lead} />
      <Loaded query={me}>
        {(person) =>
          person && (
            <div className="stack">
              <YouPanel me={person} />
              <PasswordPanel me={person} />
              <SshKeysPanel />
              <TokensPanel me={person} />
            </div>
          )
        }
      </Loaded>
    </div>
  );
}
