# What every shell of a dev machine begins with: login shells by /etc/profile.d, all of bash's
# others by /etc/bash.bashrc, those that sshd starts for one command too. Sets nothing anew that is
# set, leaves the prompt alone, and says something to people at a terminal only, once.

# The container's environment, which sshd does not hand on.
if [ -r /etc/environment.athanor ]; then
    . /etc/environment.athanor
fi
if [ -d /opt/python/bin ]; then
    case ":$PATH:" in
    *:/opt/python/bin:*) ;;
    *) export PATH="/opt/python/bin:$PATH" ;;
    esac
fi
if [ -z "${HF_TOKEN_PATH+set}" ]; then
    export HF_TOKEN_PATH="${ATHANOR_TOKEN_FILE:-/run/athanor/token}"
fi
# The token is in no environment that the engine shows, so it is read here.
if [ -z "${OPENAI_API_KEY+set}" ] && [ -r "${ATHANOR_TOKEN_FILE:-/run/athanor/token}" ]; then
    OPENAI_API_KEY=$(cat "${ATHANOR_TOKEN_FILE:-/run/athanor/token}")
    export OPENAI_API_KEY
fi
case $- in
*i*)
    if [ -t 1 ] && [ -d /scratch ] && [ -z "${ATHANOR_GREETED+set}" ]; then
        export ATHANOR_GREETED=1
        printf '[Athanor] %b | /root is kept, /scratch is not\n' \
            '/root \344\274\232\344\277\235\347\225\231\357\274\214/scratch \344\270\215\344\274\232\344\277\235\347\225\231'
    fi
    ;;
esac
